//! Commands that need no daemon because they start one or prepare for it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use tracing::level_filters::LevelFilter;

use crate::app;
use crate::config;
use crate::config::{Config, ConfigError, LogLevel, Overrides};
use crate::telemetry;

use super::args::{Cli, ConfigFile, ConfigVerb, Global, Serve};
use super::failure::{Failure, exit};
use super::online::say;
use super::output;

/// `recseal serve`
pub(super) fn serve(global: &Global, verb: &Serve) -> Result<(), Failure> {
    let over = Overrides {
        https: verb.listen,
        health: verb.health_listen,
        ..overrides(global, &verb.file)?
    };
    let config = load(global, &verb.file, over)?;
    telemetry::start(level(config.log));
    make_missing_stores(&verb.file)?;
    app::serve(config).map_err(|error| Failure::of(exit::FAILED, &error, error.hint()))
}

/// A store named on the command line may be new; its parent must be there, so that a typing
/// error or a missing mount makes no tree.
fn make_missing_stores(file: &ConfigFile) -> Result<(), Failure> {
    for text in &file.stores {
        let path = Path::new(config::split_store(text).0);
        match fs::create_dir(path) {
            Ok(()) => eprintln!("recseal: made the missing store folder {}", path.display()),
            Err(_) if path.is_dir() => {}
            Err(error) => {
                let message = format!("the store {} cannot be made: {error}", path.display());
                let hint = "make the folder above it, or mount what belongs there";
                return Err(Failure::new(exit::CONFIGURATION, message, hint));
            }
        }
    }
    Ok(())
}

/// `recseal config`
pub(super) fn config(global: &Global, verb: &ConfigVerb) -> Result<(), Failure> {
    match verb {
        ConfigVerb::Check { file } => {
            let file = ConfigFile { config: file.clone(), stores: Vec::new() };
            let config = load(global, &file, overrides(global, &file)?)?;
            let stores = config.stores.len();
            let answer = json!({ "valid": true, "stores": stores });
            say(global, &answer, &format!("valid: {stores} store(s)\n"))
        }
        ConfigVerb::Show(file) => {
            let text = load(global, file, overrides(global, file)?)?.to_toml();
            say(global, &json!({ "toml": text }), &text)
        }
    }
}

/// Reads the file, if one is named, and lays the command line over it.
pub(super) fn load(
    global: &Global,
    file: &ConfigFile,
    mut over: Overrides,
) -> Result<Config, Failure> {
    let Some(path) = &file.config else {
        over.state = Some(super::state_folder(global)?);
        return Ok(Config::read("", over)?);
    };
    let text = read_bounded(path)?;
    match Config::read(&text, over.clone()) {
        // Neither file nor --state: the usual default.
        Err(ConfigError::NoState) => {
            over.state = Some(super::state_folder(global)?);
            Ok(Config::read(&text, over)?)
        }
        outcome => Ok(outcome?),
    }
}

fn read_bounded(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure {
        exit: exit::CONFIGURATION,
        ..Failure::file("configuration file", &error)
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(config::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

pub(super) fn overrides(global: &Global, file: &ConfigFile) -> Result<Overrides, Failure> {
    let absolute = |path: &Path| -> Result<PathBuf, Failure> {
        std::path::absolute(path).map_err(|error| Failure::file("path", &error))
    };
    let mut over = Overrides::default();
    if let Some(state) = &global.state {
        over.state = Some(absolute(state)?);
    }
    for text in &file.stores {
        let (path, profile) = config::split_store(text);
        over.stores.push((absolute(Path::new(path))?, profile));
    }
    Ok(over)
}

/// `recseal completions`
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "recseal", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// `recseal man`
pub(super) fn man(out: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::file("man pages", &error);
    fs::create_dir_all(out).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), out).map_err(failed)
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(state: Option<&str>) -> Global {
        Global { state: state.map(PathBuf::from), ..Global::default() }
    }

    /// Planted fault: the default laid over the file's own `state`.
    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, "state = '/from/file'").unwrap();
        let file = ConfigFile { config: Some(path.clone()), stores: vec![] };
        let load = |global: &Global, file: &ConfigFile| {
            load(global, file, overrides(global, file).unwrap()).unwrap().state
        };
        assert_eq!(load(&global(Some("/from/line")), &file), Path::new("/from/line"));
        assert_eq!(load(&global(None), &file), Path::new("/from/file"));
        fs::write(&path, "log = 'warn'").unwrap();
        assert!(load(&global(None), &file).is_absolute());
        assert!(load(&global(None), &ConfigFile::default()).ends_with("recseal-state"));
    }

    #[test]
    fn a_bad_file_is_a_configuration_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, "wat = 1").unwrap();
        for path in [path, folder.path().join("missing"), folder.path().to_owned()] {
            let file = ConfigFile { config: Some(path), stores: vec![] };
            let failure = load(&global(None), &file, Overrides::default()).unwrap_err();
            assert_eq!(failure.exit, exit::CONFIGURATION, "{}", failure.message);
        }
    }

    /// Planted fault: `create_dir_all` makes a tree below a mount point that is not mounted.
    #[test]
    fn a_store_is_made_only_below_an_existing_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = |name: &str| ConfigFile {
            config: None,
            stores: vec![format!("{}/{name}:asterisk", folder.path().display())],
        };
        make_missing_stores(&store("new")).unwrap();
        make_missing_stores(&store("new")).unwrap();
        assert!(folder.path().join("new").is_dir());
        assert!(make_missing_stores(&store("a/b")).is_err());
        assert!(!folder.path().join("a").exists());
    }
}
