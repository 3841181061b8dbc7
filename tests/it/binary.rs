//! Runs the program as a user would: another process, its own environment, its output caught.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What a finished process left.
#[derive(Debug)]
pub struct Output {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Stops the test unless the process said so; shows its output.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.stdout))
    }
}

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_reveil");

/// `reveil` in `dir`, without the settings of whoever runs the tests.
pub fn command(dir: &Path, arguments: &[&str]) -> Command {
    command_of(PROGRAM, dir, arguments)
}

/// Another program that will start it.
pub fn command_of(program: &str, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("REVEIL"));
    for name in own {
        command.env_remove(name);
    }
    command.current_dir(dir).args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    finish(command(dir, arguments))
}

/// Runs a prepared command to its end.
pub fn finish(mut command: Command) -> Output {
    let output = command.output().expect("the binary was built with the tests");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Starts it and leaves it running, unheard.
pub fn spawn(dir: &Path, arguments: &[&str]) -> Child {
    command(dir, arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary was built with the tests")
}
