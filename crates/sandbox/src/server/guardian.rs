//! A small shell process that outlives us for as long as it takes to clean up after us.
//!
//! It holds the read end of a pipe whose write end is ours alone. Whatever ends this process, SIGKILL included,
//! closes the pipe; the guardian then stops the server and removes its directory.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Guardian {
    process: Child,
}

impl Guardian {
    /// Starts watching over `dir`, which need not exist yet.
    ///
    /// It runs as ourselves and not as the server's account: we may be killed while files are still root's.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let process = Command::new("/bin/sh")
            .args(["-c", include_str!("guardian.sh"), "pontoon-guardian"])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own process group: a Ctrl-C that ends us must not end it.
            .process_group(0)
            .spawn()
            .map_err(|e| Error::program("/bin/sh", e.to_string()))?;
        Ok(Self { process })
    }

    /// Sends the guardian away without its cleaning up: the server shall stay.
    pub(crate) fn dismiss(mut self) -> Result<()> {
        let mut pipe = self
            .process
            .stdin
            .take()
            .expect("the guardian was started with a pipe");
        pipe.write_all(b"keep\n")
            .map_err(|e| Error::program("/bin/sh", e.to_string()))?;
        drop(pipe);
        self.process
            .wait()
            .map_err(|e| Error::program("/bin/sh", e.to_string()))?;
        Ok(())
    }
}

impl Drop for Guardian {
    /// Lets the guardian do its work and waits for its end, so that nothing of ours is left when we return.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            tracing::warn!("the sandbox's guardian could not be awaited: {error}");
        }
    }
}
