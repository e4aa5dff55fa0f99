//! Output files: a command never overwrites data that it did not write itself, or its own input.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::Builder;

/// Output of a command, not yet opened for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output, shared with other writers of the same file.
    Stdout,
    /// Standard error, likewise.
    Stderr,
    /// A file that does not exist yet.
    New(PathBuf),
    /// An older output, to be replaced by a new file.
    Old(PathBuf),
    /// A file without content to lose: an empty file, a pipe, a device.
    Empty(PathBuf),
}

impl Target {
    /// Checks an output path; `-` is standard output. `inputs` are the files that the command reads. `is_ours` returns
    /// from a file's beginning whether it is an older output of the same `kind`.
    ///
    /// # Errors
    /// When the output would overwrite an input or data of another kind.
    pub(crate) fn new(
        path: &Path,
        inputs: &[FileId],
        kind: &str,
        is_ours: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Self, String> {
        /// Size of the beginning that identifies an older output.
        const BEGINNING_BYTES: u64 = 1 << 16;
        let is_input = |metadata: &Metadata| metadata.is_file() && inputs.contains(&FileId::of(metadata));
        const SAME: &str = "it is also an input, which it would overwrite: choose another file";
        if path == Path::new("-") {
            return match metadata_of(io::stdout()) {
                Ok(metadata) if is_input(&metadata) => Err(SAME.to_owned()),
                _ => Ok(Self::Stdout),
            };
        }
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
            Err(_) if path.is_symlink() => {
                return Err(
                    "it is a link to a file that does not exist: create that file, or remove the link".to_owned()
                );
            }
            Err(_) => {
                check_folder(path)?;
                return Ok(Self::New(path.to_owned()));
            }
            Ok(metadata) => metadata,
        };
        if is_input(&metadata) {
            return Err(SAME.to_owned());
        }
        if metadata.is_dir() {
            return Err("it is a directory: name a file".to_owned());
        }
        if !metadata.is_file() {
            return Ok(Self::Empty(path.to_owned()));
        }
        // Do not open /dev/stdout and the like again: a second handle would write at its own position, over the lines
        // of the first.
        let is_same = |stream: io::Result<FileId>| stream.is_ok_and(|id| id == FileId::of(&metadata));
        if is_same(FileId::of_stream(io::stdout())) {
            return Ok(Self::Stdout);
        }
        if is_same(FileId::of_stream(io::stderr())) {
            return Ok(Self::Stderr);
        }
        if is_descriptor(path) {
            return Err("it is an open file, whose other lines it would overwrite: name the file itself".to_owned());
        }
        if metadata.len() == 0 {
            return Ok(Self::Empty(path.to_owned()));
        }
        let mut beginning = Vec::new();
        // Opened for writing too, because a file without permission to write is not replaced.
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let read = opened.and_then(|file| file.take(BEGINNING_BYTES).read_to_end(&mut beginning));
        read.map_err(|error| error.to_string())?;
        if !is_ours(&beginning) {
            return Err(format!("the file exists and is not a {kind}: choose another file, or remove it"));
        }
        // A link stays; its target is replaced.
        let path = fs::canonicalize(path).map_err(|error| error.to_string())?;
        check_folder(&path)?;
        Ok(Self::Old(path))
    }

    /// Opens the output for writing. A new file of the same name and permissions replaces an older output.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(&self) -> io::Result<File> {
        self.open_with(0o666)
    }

    /// Like [`open`](Self::open); only this user may read a file that did not exist before.
    pub(crate) fn open_private(&self) -> io::Result<File> {
        self.open_with(0o600)
    }

    fn open_with(&self, mode: u32) -> io::Result<File> {
        Ok(match self {
            Self::Stdout => duplicate(io::stdout())?,
            Self::Stderr => duplicate(io::stderr())?,
            Self::New(path) => OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?,
            Self::Empty(path) => OpenOptions::new().write(true).open(path)?,
            Self::Old(path) => {
                let permissions = fs::metadata(path)?.permissions();
                let file = Builder::new().prefix(".kurier-").permissions(permissions).tempfile_in(folder(path))?;
                file.persist(path).map_err(|error| error.error)?
            }
        })
    }
}

/// Checks that a file can be created beside this path.
fn check_folder(path: &Path) -> Result<(), String> {
    let folder = folder(path);
    let created = Builder::new().prefix(".kurier-").tempfile_in(folder);
    // Leave out the error's text, which names the temporary file.
    let cannot = |error: io::Error| format!("cannot create a file in {}: {}", folder.display(), error.kind());
    created.map(drop).map_err(cannot)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Returns whether a path, or the link at this path, names an open file by its descriptor, such as /dev/fd/3.
fn is_descriptor(path: &Path) -> bool {
    let is_in_folder = |path: &Path| {
        let folder = fs::canonicalize(folder(path)).unwrap_or_default();
        folder == Path::new("/dev/fd") || (folder.starts_with("/proc") && folder.ends_with("fd"))
    };
    is_in_folder(path) || fs::read_link(path).is_ok_and(|path| is_in_folder(&path))
}

/// Identity of a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Returns the identity of the file at this path.
    ///
    /// # Errors
    /// When the file's metadata cannot be read.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// Returns the identity of standard input's file.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub(crate) fn stdin() -> io::Result<Self> {
        Self::of_stream(io::stdin())
    }

    fn of_stream(stream: impl AsFd) -> io::Result<Self> {
        metadata_of(stream).map(|metadata| Self::of(&metadata))
    }
}

fn metadata_of(stream: impl AsFd) -> io::Result<Metadata> {
    duplicate(stream)?.metadata()
}

/// Returns the same open file, with the same position.
fn duplicate(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Creates a folder with a file of each kind.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("input", "data"), ("other", "data"), ("old", "OURS 1\n"), ("empty", "")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::hard_link(folder.path().join("input"), folder.path().join("hard link")).unwrap();
        symlink("input", folder.path().join("link")).unwrap();
        symlink("old", folder.path().join("link to old")).unwrap();
        symlink("missing", folder.path().join("link to nothing")).unwrap();
        folder
    }

    fn target(path: &Path, input: &Path) -> Result<Target, String> {
        Target::new(path, &[FileId::at(input).unwrap()], "report", |beginning| beginning.starts_with(b"OURS"))
    }

    #[test]
    fn foreign_data_is_not_overwritten() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        for (name, expected) in [
            ("input", Err("also an input")),
            ("hard link", Err("also an input")),
            ("link", Err("also an input")),
            ("other", Err("is not a report")),
            (".", Err("is a directory")),
            ("link to nothing", Err("link to a file that does not exist")),
            ("missing/new", Err("missing: entity not found")),
            ("new", Ok(Target::New(at("new")))),
            ("empty", Ok(Target::Empty(at("empty")))),
            ("old", Ok(Target::Old(fs::canonicalize(at("old")).unwrap()))),
            ("link to old", Ok(Target::Old(fs::canonicalize(at("old")).unwrap()))),
            ("/dev/null", Ok(Target::Empty(PathBuf::from("/dev/null")))),
        ] {
            match (target(&at(name), &at("input")), expected) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{name}: {error}"),
                (target, expected) => assert_eq!(target, expected.map_err(str::to_owned), "{name}"),
            }
        }
        assert_eq!(fs::read_to_string(at("input")).unwrap(), "data");
        assert_eq!(Target::new(Path::new("-"), &[], "report", |_| false), Ok(Target::Stdout));
    }

    #[test]
    fn new_file_replaces_an_older_output_and_keeps_its_permissions() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        fs::set_permissions(at("old"), PermissionsExt::from_mode(0o640)).unwrap();
        fs::hard_link(at("old"), at("kept")).unwrap();
        for name in ["link to old", "empty", "new"] {
            let mut file = target(&at(name), &at("input")).unwrap().open().unwrap();
            file.write_all(b"OURS 2\n").unwrap();
        }
        for (name, expected) in [("old", "OURS 2\n"), ("kept", "OURS 1\n"), ("empty", "OURS 2\n"), ("new", "OURS 2\n")]
        {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), expected, "{name}");
        }
        assert!(at("link to old").is_symlink());
        assert_eq!(fs::metadata(at("old")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 10, "no other file is left");
    }
}
