//! The framing of PostgreSQL's protocol, version 3, as far as the proxy needs it.
//!
//! Source: the manual's chapter "Message Formats". After the start-up packet every message is a type byte, a length that
//! counts itself, and the content.

use std::collections::BTreeSet;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const TLS_HANDSHAKE: u8 = 0x16;

/// One message of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// Whether it executes (simple query) or binds a statement whose text was asked for.
    pub(super) executes_match: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Startup,
    Negotiating,
    Running,
    Encrypted,
}

/// Cuts the client's stream into messages.
#[derive(Debug, Default)]
pub(super) struct Frontend {
    buffer: Vec<u8>,
    stage: Stage,
    /// Names of prepared statements whose text matched.
    matching: BTreeSet<Vec<u8>>,
    answers_due: u64,
    extended_open: bool,
}

impl Frontend {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message. `wanted` says whether a statement's text is one to look for.
    pub(super) fn next(&mut self, wanted: &dyn Fn(&str) -> bool) -> Option<Message> {
        if self.stage == Stage::Negotiating && self.buffer.first() == Some(&TLS_HANDSHAKE) {
            self.stage = Stage::Encrypted;
        }
        match self.stage {
            Stage::Encrypted => (!self.buffer.is_empty()).then(|| Message {
                bytes: std::mem::take(&mut self.buffer),
                executes_match: false,
            }),
            Stage::Startup | Stage::Negotiating => {
                let bytes = self.take(0)?;
                let code = bytes
                    .get(4..8)
                    .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                self.stage = match code {
                    Some(SSL_REQUEST | GSS_REQUEST) => Stage::Negotiating,
                    _ => Stage::Running,
                };
                Some(Message {
                    bytes,
                    executes_match: false,
                })
            }
            Stage::Running => {
                let bytes = self.take(1)?;
                let executes_match = self.inspect(&bytes, wanted);
                Some(Message {
                    bytes,
                    executes_match,
                })
            }
        }
    }

    /// Takes a message whose length field begins at `at`, once it is there as a whole.
    fn take(&mut self, at: usize) -> Option<Vec<u8>> {
        let field = self.buffer.get(at..at + 4)?;
        let length = u32::from_be_bytes([field[0], field[1], field[2], field[3]]) as usize + at;
        if self.buffer.len() < length {
            return None;
        }
        let rest = self.buffer.split_off(length);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    fn inspect(&mut self, message: &[u8], wanted: &dyn Fn(&str) -> bool) -> bool {
        let mut texts = message[5..].split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match message[0] {
            b'Q' => {
                self.answers_due += 1;
                self.extended_open = false;
                wanted(&String::from_utf8_lossy(text()))
            }
            b'P' => {
                self.extended_open = true;
                let (name, sql) = (text(), text());
                if wanted(&String::from_utf8_lossy(sql)) {
                    self.matching.insert(name.to_vec());
                } else {
                    self.matching.remove(name);
                }
                false
            }
            b'B' => {
                self.extended_open = true;
                let (_portal, name) = (text(), text());
                self.matching.contains(name)
            }
            b'S' => {
                self.answers_due += 1;
                self.extended_open = false;
                false
            }
            _ => false,
        }
    }

    /// How many answers the server owes once it has executed what was sent so far.
    pub(super) fn answers_due(&self) -> u64 {
        // A bound statement is answered at the Sync that is still to come.
        self.answers_due + u64::from(self.extended_open)
    }

    pub(super) fn negotiating(&self) -> bool {
        self.stage == Stage::Negotiating
    }

    pub(super) fn encrypted(&self) -> bool {
        self.stage == Stage::Encrypted
    }
}

/// Follows the server's stream and counts its answers (`ReadyForQuery`), without keeping the content.
#[derive(Debug, Default)]
pub(super) struct Backend {
    header: Vec<u8>,
    remaining: usize,
    skip: usize,
    answers: u64,
}

impl Backend {
    /// The next byte is the answer to a request for encryption and no message.
    pub(super) fn skip_one(&mut self) {
        self.skip += 1;
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.header.len() < 5 {
                let part = (5 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..part]);
                bytes = &bytes[part..];
                if self.header.len() < 5 {
                    return;
                }
                let length = u32::from_be_bytes([
                    self.header[1],
                    self.header[2],
                    self.header[3],
                    self.header[4],
                ]);
                self.remaining = (length as usize).saturating_sub(4);
            }
            let part = self.remaining.min(bytes.len());
            self.remaining -= part;
            bytes = &bytes[part..];
            if self.remaining == 0 {
                self.answers += u64::from(self.header[0] == b'Z');
                self.header.clear();
            }
        }
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((content.len() as u32 + 4).to_be_bytes());
        bytes.extend(content);
        bytes
    }

    /// The same stream, whole and byte by byte, gives the same messages.
    #[test]
    fn finds_commits_however_the_stream_is_cut() {
        let mut stream = vec![0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        stream.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
        stream.extend(message(b'Q', b"BEGIN\0"));
        stream.extend(message(b'P', b"s1\0commit\0\0\0"));
        stream.extend(message(b'P', b"s2\0select 1\0\0\0"));
        stream.extend(message(b'B', b"\0s2\0\0\0"));
        stream.extend(message(b'B', b"\0s1\0\0\0"));
        stream.extend(message(b'S', b""));
        stream.extend(message(b'Q', b"COMMIT\0"));
        let wanted = |sql: &str| sql.eq_ignore_ascii_case("commit");
        for size in [1, 3, stream.len()] {
            let mut frontend = Frontend::default();
            let mut found = Vec::new();
            for part in stream.chunks(size) {
                frontend.push(part);
                while let Some(message) = frontend.next(&wanted) {
                    found.push(message.executes_match);
                }
            }
            assert_eq!(
                found,
                [false, false, false, false, false, false, true, false, true]
            );
            assert_eq!(frontend.answers_due(), 3);
        }
    }

    #[test]
    fn counts_answers_however_the_stream_is_cut() {
        let mut stream = vec![b'N'];
        stream.extend(message(b'R', &[0; 8]));
        stream.extend(message(b'Z', b"I"));
        stream.extend(message(b'D', b"ZZZZZZZZZZ"));
        stream.extend(message(b'Z', b"T"));
        stream.extend(message(b'1', b""));
        for size in [1, 2, 7, stream.len()] {
            let mut backend = Backend::default();
            backend.skip_one();
            stream.chunks(size).for_each(|part| backend.push(part));
            assert_eq!(backend.answers(), 2);
        }
    }

    #[test]
    fn leaves_tls_alone() {
        let mut frontend = Frontend::default();
        frontend.push(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
        assert!(frontend.next(&|_| true).is_some());
        frontend.push(&[TLS_HANDSHAKE, 3, 1]);
        assert_eq!(
            frontend.next(&|_| true).expect("bytes").bytes,
            [TLS_HANDSHAKE, 3, 1]
        );
        assert!(frontend.encrypted());
    }
}
