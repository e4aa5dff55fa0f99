//! `kurier completions`: prints a script that completes the command line of `kurier` in a shell.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

/// Print a script that completes commands and options in a shell.
///
/// Let the shell read the script at its start:
///
///   bash   kurier completions bash > ~/.local/share/bash-completion/completions/kurier
///   zsh    kurier completions zsh > "${fpath[1]}/_kurier"
///   fish   kurier completions fish > ~/.config/fish/completions/kurier.fish
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Prints the script for the command line that `declaration` describes.
    pub(crate) fn run(&self, mut declaration: clap::Command, out: &mut impl Write) -> Result<()> {
        let name = declaration.get_name().to_owned();
        // The generator panics if it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut declaration, name, &mut script);
        out.write_all(&script)?;
        Ok(())
    }
}
