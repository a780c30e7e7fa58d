//! A headless Chromium, where there is one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program.
pub struct Browser(PathBuf);

impl Browser {
    /// Looks for it in the PATH; where there is none, it says so loudly.
    pub fn find() -> Option<Browser> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let names = [
            "chromium-headless-shell",
            "chromium",
            "chromium-browser",
            "google-chrome",
        ];
        let mut places =
            std::env::split_paths(&path).flat_map(|at| names.iter().map(move |name| at.join(name)));
        let found = places.find(|path| path.is_file());
        if found.is_none() {
            // Not by a macro: what those print of a test that passes is shown to nobody.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no chromium in the PATH");
        }
        found.map(Browser)
    }

    /// Opens an address; its profile and what it keeps are in `home`. What it writes to stdout: the document, with `--dump-dom`. An error on the
    /// page's console, a refused style or script among them, is a failure.
    pub fn show(&self, home: &Path, arguments: &[&str], address: &str) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.run(home, arguments, address);
        let told = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{status:?}\n{told}");
        let said: Vec<_> = told.lines().filter(|l| l.contains(":CONSOLE")).collect();
        assert!(said.is_empty(), "{address}: {said:#?}");
        String::from_utf8_lossy(&stdout).into_owned()
    }

    fn run(&self, home: &Path, arguments: &[&str], address: &str) -> Output {
        let fixed = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            // Nothing but this machine.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--virtual-time-budget=2000",
        ];
        Command::new(&self.0)
            .env("HOME", home)
            .args(fixed)
            .arg(format!(
                "--user-data-dir={}",
                home.join("profile").display()
            ))
            .args(arguments)
            .arg(address)
            .output()
            .unwrap()
    }
}
