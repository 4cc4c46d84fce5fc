//! `config check`: every mistake of a bindings file with its place in the text, and of the settings.

use crate::bindings::{
    self, Bindings, BindingsError, BindingsMistake, FILE_BYTES_MAX, TextPosition, position_of,
};
use crate::cli::exit::{EXIT_USAGE, complain};
use crate::config::{self, Config, ConfigError};
use crate::error_chain::escape_control;
use serde_json::{Value, json};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// The file; `-` is the standard input.
    #[arg(default_value = "bindings.json")]
    file: PathBuf,
    /// Check the settings of `serve` in this environment too.
    #[arg(long)]
    settings: bool,
    /// One object of JSON, with every mistake.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// A mistake, where the text has it.
struct PlacedMistake<'a> {
    mistake: &'a BindingsMistake,
    position: Option<TextPosition>,
    /// The name of the binding that it is in.
    binding: Option<String>,
}

pub(super) fn run(arguments: &CheckArguments) -> ExitCode {
    let bytes = match read(&arguments.file) {
        Ok(bytes) => bytes,
        Err(source) => {
            complain(&ReadError { path: arguments.file.clone(), source });
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let bindings = Bindings::parse_for_package(&bytes);
    let settings = arguments.settings.then(|| Config::parse(&config::environment()).map(|_| ()));
    let is_fine = bindings.is_ok() && settings.as_ref().is_none_or(Result::is_ok);
    match arguments.json {
        true => print_json(&arguments.file, &bytes, &bindings, settings.as_ref()),
        false => print_text(&arguments.file, &bytes, &bindings, settings.as_ref()),
    }
    if is_fine { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return bindings::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn placed<'a>(bytes: &[u8], error: &'a BindingsError) -> Vec<PlacedMistake<'a>> {
    let document: Option<Value> = serde_json::from_slice(bytes).ok();
    let place = |mistake: &'a BindingsMistake| {
        let mut parts = mistake.place.split('/').skip(1);
        let index = (parts.next() == Some("bindings")).then(|| parts.next()).flatten();
        let name =
            index.and_then(|index| document.as_ref()?.pointer(&format!("/bindings/{index}/name"))?.as_str());
        let position = if document.is_some() { position_of(bytes, &mistake.place) } else { None };
        PlacedMistake { mistake, position, binding: name.map(str::to_owned) }
    };
    error.mistakes.iter().map(place).collect()
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result of the command")]
fn print_text(
    file: &Path,
    bytes: &[u8],
    bindings: &Result<Bindings, BindingsError>,
    settings: Option<&Result<(), ConfigError>>,
) {
    let shown = escape_control(&file.display().to_string());
    match bindings {
        Ok(bindings) => println!("{shown}: {} bindings, in order", bindings.bindings.len()),
        Err(error) => {
            let count = error.mistakes.len();
            eprintln!("{shown} is not in order: {count} mistake{}", if count == 1 { "" } else { "s" });
            for PlacedMistake { mistake, position, binding } in placed(bytes, error) {
                let at = position.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
                let of =
                    binding.map(|name| format!("binding {}: ", escape_control(&name))).unwrap_or_default();
                eprintln!("  {shown}{at}: {of}{mistake}");
            }
        }
    }
    match settings {
        Some(Ok(())) => println!("the settings of serve: in order"),
        Some(Err(error)) => complain(error),
        None => {}
    }
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn print_json(
    file: &Path,
    bytes: &[u8],
    bindings: &Result<Bindings, BindingsError>,
    settings: Option<&Result<(), ConfigError>>,
) {
    let mistakes = bindings.as_ref().err().map(|error| placed(bytes, error)).unwrap_or_default();
    let mistakes: Vec<Value> = mistakes
        .iter()
        .map(|PlacedMistake { mistake, position, binding }| {
            json!({
                "place": mistake.place, "line": position.map(|at| at.line), "column": position.map(|at| at.column),
                "binding": binding, "text": mistake.text,
            })
        })
        .collect();
    let settings = settings.map(|settings| {
        let mistakes = settings.as_ref().err().map(|error| error.mistakes.as_slice()).unwrap_or_default();
        let mistake =
            |mistake: &config::ConfigMistake| json!({"variable": mistake.variable, "text": mistake.what});
        mistakes.iter().map(mistake).collect::<Vec<_>>()
    });
    let number = bindings.as_ref().ok().map(|bindings| bindings.bindings.len());
    println!(
        "{}",
        json!({
            "file": file.display().to_string(), "bindings": number, "mistakes": mistakes, "settings": settings,
        })
    );
}
