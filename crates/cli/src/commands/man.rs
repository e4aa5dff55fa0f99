//! `kurier man`: prints manual pages.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use clap_mangen::Man as Page;

use crate::exit::Misuse;

/// Print a manual page, of `kurier` or of one of its commands.
///
/// `kurier man produce | man -l -` shows it. `kurier man > kurier.1` and `kurier man produce > kurier-produce.1`, in a
/// folder man1 of the manual, install it.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The command; by default the page is about kurier itself.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Man {
    /// Prints a page about the command line that `declaration` describes.
    pub(crate) fn run(&self, mut declaration: clap::Command, out: &mut impl Write) -> Result<()> {
        // This gives each command its full name.
        declaration.build();
        let page = match &self.command {
            None => declaration,
            Some(name) => match declaration.find_subcommand(name) {
                Some(command) => command.clone(),
                None => return Err(unknown(name, &declaration)),
            },
        };
        Page::new(page).render(out)?;
        Ok(())
    }
}

fn unknown(name: &str, declaration: &clap::Command) -> anyhow::Error {
    let known: Vec<_> = declaration.get_subcommands().map(clap::Command::get_name).collect();
    Misuse::error(format_args!("kurier has no command {name:?}, so there is no page: known are {}", known.join(", ")))
}
