//! `keyrung man`: a manual page for each command.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use serde_json::json;

use crate::storage::StorageError;

use super::args::Cli;
use super::error::CliError;
use super::output::Output;

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keyrung man ~/.local/share/man/man1 && man keyrung")]
pub struct ManArgs {
    /// Folder for the pages; it is made where it is missing, and pages that are there are replaced
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes them.
///
/// # Errors
/// Whatever the system reports.
pub fn run(args: &ManArgs, output: Output) -> Result<(), CliError> {
    fs::create_dir_all(&args.dir).map_err(|e| StorageError::new("create", &args.dir, e))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    write(&command, "keyrung", &args.dir, &mut pages)?;
    output.json(&json!({ "pages": pages }));
    output.text(&format!("{} pages in {}\n", pages.len(), args.dir.display()));
    Ok(())
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: &clap::Command, name: &str, dir: &Path, pages: &mut Vec<String>) -> Result<(), CliError> {
    let file = format!("{name}.1");
    let path = dir.join(&file);
    let failed = |e: std::io::Error| StorageError::new("write", &path, e);
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut page).map_err(failed)?;
    fs::write(&path, page).map_err(failed)?;
    pages.push(file);
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, &format!("{name}-{}", below.get_name()), dir, pages)?;
    }
    Ok(())
}
