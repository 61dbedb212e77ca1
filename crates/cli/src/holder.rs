//! Who we are, for leases and for the audit.

use std::sync::OnceLock;

use pontoon_engine::db::Holder;

/// This process, as holder of a run or giver of a command.
pub(crate) fn here() -> Holder {
    Holder {
        host: host(),
        pid: std::process::id(),
        boot: boot(),
        user: user(),
    }
}

fn user() -> String {
    ["PONTOON_USER", "USER", "LOGNAME", "USERNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.trim().is_empty())
        .or_else(|| ask("id", &["-un"]))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn host() -> String {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        read("/proc/sys/kernel/hostname")
            .or_else(|| ask("hostname", &[]))
            .or_else(|| std::env::var("HOSTNAME").ok())
            .unwrap_or_else(|| "unknown".to_owned())
    })
    .clone()
}

/// Names the space in which a pid means one process: the boot of the machine
/// and, where there are containers, the namespace of pids. Two containers on
/// one machine share the former only.
fn boot() -> String {
    let boot = read("/proc/sys/kernel/random/boot_id")
        .or_else(|| ask("sysctl", &["-n", "kern.bootsessionuuid"]));
    let space = std::fs::read_link("/proc/self/ns/pid")
        .ok()
        .map(|link| link.to_string_lossy().into_owned());
    match (boot, space) {
        (Some(boot), Some(space)) => format!("{boot} {space}"),
        (Some(boot), None) => boot,
        // Nothing can be concluded from a pid then, so nothing must match.
        (None, _) => format!("unknown {}", uuid::Uuid::new_v4()),
    }
}

fn read(path: &str) -> Option<String> {
    non_empty(std::fs::read_to_string(path).ok()?)
}

fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .stderr(std::process::Stdio::null())
        .output()
        .ok()?;
    non_empty(String::from_utf8(output.stdout).ok()?)
}

fn non_empty(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_named_the_same_twice() {
        assert_eq!(here(), here());
        assert_eq!(here().pid, std::process::id());
        assert_ne!(here().host, "");
    }
}
