//! Kurier's manual: its [architecture], its [guarantees], its [settings], how to reach a [secured Kafka](security), its
//! [performance], and the meaning of its [errors].

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("settings.md")]
pub mod settings {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[cfg(test)]
mod tests {
    use kurier_engine::config::Config;

    /// Writes the page from the table of settings.
    fn page() -> String {
        let mut page = "Every setting of a producer, from the table in `kurier-engine`'s `config/mod.rs`. `Config::set`, property files and \
                        the command's `-X` take these keys. Times are in milliseconds, sizes in bytes.\n\n\
                        | key (librdkafka's name) | default | meaning |\n|---|---|---|\n"
            .to_owned();
        for (keys, default, meaning) in Config::table() {
            let (key, aliases) = keys.split_first().unwrap();
            let aliases: String = aliases.iter().map(|alias| format!(" (`{alias}`)")).collect();
            let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
            page += &format!("| `{key}`{aliases} | {default} | {meaning} |\n");
        }
        page
    }

    #[test]
    fn settings_page_says_what_the_table_says() {
        if page() != include_str!("settings.md") {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual/settings.md");
            std::fs::write(path, page()).unwrap();
            panic!("{path} differed from the table of settings, and is now up to date: run the test again");
        }
    }
}
