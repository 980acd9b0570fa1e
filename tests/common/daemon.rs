//! The real program, started as systemd would start it, on a state folder of its own.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A running `recseal serve`. Dropped, it is killed without ceremony.
pub struct Daemon {
    child: Option<Child>,
    /// Where it reports readiness, as to systemd. Also our clock: waiting for a message that
    /// does not come is how this module waits.
    notify: UnixDatagram,
    folder: tempfile::TempDir,
    state: PathBuf,
    /// What the program is started under; nothing if it is started as itself.
    under: Vec<String>,
    args: Vec<String>,
}

impl Daemon {
    /// Starts it on a fresh state folder with these further arguments of `serve`, on free ports,
    /// and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder for the state"), args)
    }

    /// The same with everything it keeps in a folder of the caller's choice, as one on another
    /// file system.
    pub fn start_in(folder: tempfile::TempDir, args: &[&str]) -> Self {
        let state = folder.path().join("state");
        Self::start_on(folder, state, &[], args)
    }

    /// The same with a state folder of its own, apart from `folder` with the log, and started by
    /// the command `under`, as `setpriv`.
    pub fn start_on(
        folder: tempfile::TempDir,
        state: PathBuf,
        under: &[&str],
        args: &[&str],
    ) -> Self {
        let mut daemon = Self::at_rest_on(folder, state, under, args);
        daemon.start_again();
        daemon
    }

    /// Not started yet, on the state folder `state`, or on a fresh one of its own.
    pub fn at_rest(state: Option<&Path>, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the state");
        let state = state.map_or_else(|| folder.path().join("state"), Path::to_owned);
        Self::at_rest_on(folder, state, &[], args)
    }

    fn at_rest_on(
        folder: tempfile::TempDir,
        state: PathBuf,
        under: &[&str],
        args: &[&str],
    ) -> Self {
        let notify = UnixDatagram::bind(folder.path().join("notify")).expect("a socket to wait on");
        notify.set_read_timeout(Some(TURN)).expect("a socket takes a timeout");
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (under, args) = (owned(under), owned(args));
        Self { child: None, notify, folder, state, under, args }
    }

    /// Starts it again on the same state folder, after [`Daemon::kill_nine`] or
    /// [`Daemon::stop`].
    pub fn start_again(&mut self) {
        self.begin(&[]);
        self.wait_until("it is ready", |daemon| {
            daemon.try_json(&["status"]).is_some_and(|status| status["ready"] == true)
        });
    }

    /// The same with these variables in its environment, and without waiting: it may end early.
    pub fn begin(&mut self, environment: &[(&str, &str)]) {
        assert!(self.child.is_none(), "it still runs");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a file for the log");
        let child = under(&self.under)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"])
            .arg("--state")
            .arg(self.state())
            .args(&self.args)
            .envs(environment.iter().copied())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// False once it ended by itself.
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.as_mut().map(Child::try_wait);
        matches!(ended, Some(Ok(None)))
    }

    /// Waits until it ends by itself. Panics if it does not.
    pub fn wait_for_end(&mut self, why: &str) -> ExitStatus {
        for _ in 0..TURNS_MAX {
            let child = self.child.as_mut().expect("it runs");
            if let Some(status) = child.try_wait().expect("our own child can be asked") {
                self.child = None;
                return status;
            }
            self.turn();
        }
        panic!("it did not end: {why}\nlog:\n{}", self.log());
    }

    /// Lets it run for `span`, for tests that kill it at any instant and not at a certain one.
    pub fn let_run(&self, span: Duration) {
        let (_open, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(span);
    }

    /// Its state folder.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// The sealed-recordings tree of layout "vault".
    pub fn vault(&self) -> PathBuf {
        self.state().join("vault")
    }

    /// What it wrote to standard output and error, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Runs another command of the program against it.
    pub fn recseal(&self, args: &[&str]) -> Output {
        program().args(args).arg("--state").arg(self.state()).output().expect("the program runs")
    }

    /// Runs a command that must succeed, with `--json`, and reads its answer.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        self.try_json(args).unwrap_or_else(|| {
            panic!("{args:?}: {:?}\nlog:\n{}", self.recseal(args), self.log());
        })
    }

    /// The same, `None` if it fails.
    pub fn try_json(&self, args: &[&str]) -> Option<serde_json::Value> {
        let output = self.recseal(&[args, &["--json"]].concat());
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
    }

    /// Asks until `is_so`, a bounded number of times.
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if is_so(self) {
                return;
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().expect("our own child can be asked")
            {
                self.child = None;
                panic!("waiting until {what}: it ended with {status}\nlog:\n{}", self.log());
            }
            self.turn();
        }
        panic!("not so after {TURNS_MAX} turns: {what}\nlog:\n{}", self.log());
    }

    /// kill -9: the process gets no chance to tidy up.
    pub fn kill_nine(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
    }

    /// SIGTERM, as systemd stops it. Panics if it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it gets SIGTERM");
        self.wait_for_end("SIGTERM")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Until it says something, at most [`TURN`]. What it says is only a bell.
    fn turn(&self) {
        let _ = self.notify.recv(&mut [0; 4_096]);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program under test, deaf to the environment of whoever runs the tests.
pub fn program() -> Command {
    under(&[])
}

fn under(words: &[String]) -> Command {
    let binary = env!("CARGO_BIN_EXE_recseal");
    let mut program = match words.split_first() {
        None => Command::new(binary),
        Some((first, others)) => {
            let mut wrapped = Command::new(first);
            wrapped.args(others).arg(binary);
            wrapped
        }
    };
    for name in
        ["STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_USEC", "WATCHDOG_PID"]
    {
        program.env_remove(name);
    }
    program
}

const TURN: Duration = Duration::from_millis(50);
/// 30 seconds at least: a busy machine is slow, a broken daemon is not quick to tell from it.
const TURNS_MAX: usize = 600;
