//! Java programs: fetches their jars with Maven, compiles and runs them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::target;

/// The jars of one version of the Java client and its dependencies.
#[derive(Clone, Debug)]
pub struct Jars {
    folder: PathBuf,
    version: &'static str,
}

impl Jars {
    /// Fetches the jars of this version of kafka-clients, once, into the workspace's target folder.
    ///
    /// # Errors
    /// If Maven is missing or cannot fetch them.
    pub fn fetch(version: &'static str) -> Result<Self> {
        Self::fetch_named("kafka-clients", &sources().join("pom.xml"), version)
    }

    /// Like [`fetch`](Self::fetch), for this version of the Kafka server and its tools, which include the client.
    ///
    /// # Errors
    /// If Maven is missing or cannot fetch them.
    pub fn fetch_server(version: &'static str) -> Result<Self> {
        let pom = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/pom.xml"));
        Self::fetch_named("kafka-server", pom, version)
    }

    fn fetch_named(what: &str, pom: &Path, version: &'static str) -> Result<Self> {
        let folder = target().join(format!("{what}-{version}"));
        let complete = folder.join(".complete");
        if !complete.exists() {
            let mut maven = Command::new("mvn");
            maven.args(["-q", "-B", "-f"]).arg(pom);
            maven.arg(format!("-Dkafka.version={version}"));
            maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
            maven.arg(format!("-DoutputDirectory={}", folder.display()));
            run(&mut maven, "Maven fetches the jars; apt-get install maven openjdk-17-jdk-headless")?;
            fs::write(complete, "")?;
        }
        Ok(Self { folder, version })
    }

    /// Returns the version of Kafka of these jars.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Returns a program in the jars, by its class.
    #[must_use]
    pub fn program(&self, class: &'static str) -> Program {
        Program { path: self.folder.join("*").display().to_string(), class }
    }

    /// Returns the path of the client's own jar.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.folder.join(format!("kafka-clients-{}.jar", self.version))
    }

    /// Compiles a program in this crate's folder `java`. It may use those that were compiled before.
    ///
    /// # Errors
    /// If the compiler is missing or reports errors.
    pub fn compile(&self, program: &'static str) -> Result<Program> {
        let classes = target().join(format!("java-{}", self.version));
        fs::create_dir_all(&classes)?;
        let mut javac = Command::new("javac");
        let path = format!("{}/*:{}", self.folder.display(), classes.display());
        javac.args(["-nowarn", "-encoding", "UTF-8", "-cp", &path, "-d"]).arg(&classes);
        javac.arg(sources().join(format!("{program}.java")));
        run(&mut javac, "apt-get install openjdk-17-jdk-headless")?;
        Ok(Program { path, class: program })
    }
}

/// A compiled program.
#[derive(Clone, Debug)]
pub struct Program {
    path: String,
    class: &'static str,
}

impl Program {
    /// Runs the program and returns its output.
    ///
    /// # Errors
    /// If it fails; with its output.
    pub fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        let output = run(self.command(&[]).args(arguments), "apt-get install openjdk-17-jre-headless")?;
        String::from_utf8(output.stdout).with_context(|| format!("{} printed what is no text", self.class))
    }

    /// Returns the command that runs the program, with these options for the virtual machine. Callers may append the
    /// program's arguments.
    ///
    /// It uses only the first compiler (C1): these programs are too short-lived for the second one, and share their
    /// cores.
    #[must_use]
    pub fn command(&self, options: &[&str]) -> Command {
        let mut java = Command::new("java");
        java.args(["-Dfile.encoding=UTF-8", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.args(options).args(["-cp", &self.path, self.class]);
        java
    }
}

/// Runs a command to its end.
///
/// # Errors
/// If the command cannot start, with `remedy` as advice, or if it fails, with its output.
pub fn run(command: &mut Command, remedy: &str) -> Result<Output> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("{program} cannot be run; {remedy}"))?;
    if !output.status.success() {
        let talk = [output.stdout, output.stderr].concat();
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&talk));
    }
    Ok(output)
}

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/java"))
}
