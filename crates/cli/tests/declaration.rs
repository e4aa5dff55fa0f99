//! Tests of completions and manual pages, which clap generates from the declaration of the command line.

mod command;

use command::kurier;

/// Returns the commands that the help lists.
fn commands() -> Vec<String> {
    let help = kurier(&["help"]).ends(0).printed;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  "));
    let names = names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).filter(|name| name != "help").collect()
}

/// Returns the long options that a command's help lists.
fn options(command: &str) -> Vec<String> {
    let help = kurier(&["help", command]).ends(0).printed;
    let first_words = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = first_words.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")));
    long.map(|option| option.trim_end_matches("...").to_owned()).collect()
}

#[test]
fn completions_know_each_command_and_option() {
    let commands = commands();
    assert!(commands.len() > 9, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = kurier(&["completions", shell]).ends(0).printed;
        for command in &commands {
            assert!(script.contains(command.as_str()), "{shell}: {command} is missing");
            for option in options(command) {
                let option = option.trim_start_matches("--");
                assert!(script.contains(option), "{shell}: {command} --{option} is missing");
            }
        }
    }
}

#[test]
fn bash_completes_a_command_line() {
    const ASK: &str = r#"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _kurier kurier "${!#}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let script = kurier(&["completions", "bash"]).ends(0).printed;
    for (line, completed) in [
        (&["kurier", "pro"][..], &["produce"][..]),
        (&["kurier", "p"], &["partition", "perf", "produce"]),
        (&["kurier", "partition", "--key"], &["--key-file"]),
    ] {
        let Ok(output) =
            std::process::Command::new("bash").args(["-c", &format!("{script}\n{ASK}"), "-"]).args(line).output()
        else {
            println!("bash is missing, so this test checks nothing");
            return;
        };
        let mut offered: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        offered.sort_unstable();
        assert_eq!(offered, completed, "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn manual_page_of_each_command_has_its_options() {
    let page = kurier(&["man"]).ends(0).printed;
    assert!(page.contains(".TH kurier 1"), "{page}");
    for command in commands() {
        assert!(page.contains(&format!("kurier\\-{command}(1)")), "{command} is missing: {page}");
        let page = kurier(&["man", &command]).ends(0).printed;
        assert!(page.contains(&format!(".TH kurier-{command} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
        for option in options(&command) {
            let option = option.replace('-', "\\-");
            assert!(page.contains(&option), "{command}: {option} is missing: {page}");
        }
    }
}

#[test]
fn unknown_command_has_no_page() {
    kurier(&["man", "prodcue"]).fails(2).says(&["known are broker, capture"]);
}
