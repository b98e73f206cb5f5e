//! What is written, what stays, and what is said.

use super::*;

#[test]
fn a_file_is_there_when_it_is_finished_and_an_older_one_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.txt");
    write(&path, b"old").unwrap();
    let mut file = WholeFile::create(&path).unwrap();
    file.write_all(b"newer").unwrap();
    file.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"N").unwrap();
    file.set_len(4).unwrap();
    file.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"Newe");
    drop(WholeFile::create(&path).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("no-such/f.txt");
    let refused = |path: &Path| WholeFile::create(path).unwrap_err().kind();
    assert_eq!(refused(&nowhere), io::ErrorKind::NotFound);
    assert_eq!(refused(folder.path()), io::ErrorKind::IsADirectory);
}

#[cfg(unix)]
#[test]
fn it_may_be_read_by_whom_other_files_of_this_account_may_be() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        metadata.permissions().mode()
    };
    fs::write(folder.path().join("usual"), "").unwrap();
    write(&folder.path().join("whole"), b"").unwrap();
    write_cached(&folder.path().join("cached"), b"").unwrap();
    assert_eq!(mode("whole"), mode("usual"));
    assert_eq!(mode("cached"), mode("usual"));
}

/// What stands in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |e: io::Result<fs::DirEntry>| e.unwrap().file_name().display().to_string();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

fn refusal(path: &Path) -> String {
    WholeFile::create(path).unwrap_err().to_string()
}

#[cfg(unix)]
#[test]
fn the_target_of_a_link_is_written_and_the_link_stays() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("deep")).unwrap();
    fs::write(at("deep/old"), "old").unwrap();
    symlink("deep/old", at("link")).unwrap();
    symlink("link", at("second")).unwrap();
    write(&at("second"), b"new").unwrap();
    assert_eq!(fs::read(at("deep/old")).unwrap(), b"new");
    // What a link leads to is made where it is not there.
    symlink("deep/made", at("dangling")).unwrap();
    write(&at("dangling"), b"made").unwrap();
    assert_eq!(fs::read(at("deep/made")).unwrap(), b"made");
    for link in ["link", "second", "dangling"] {
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
    }
    symlink("nowhere/made", at("lost")).unwrap();
    assert!(refusal(&at("lost")).starts_with("there is no folder"));
    symlink("round", at("round")).unwrap();
    assert!(refusal(&at("round")).ends_with("a circle of links"));
    assert_eq!(names(&at("deep")), ["made", "old"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_and_what_is_protected_stays_as_it_is() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert_eq!(
        refusal(&at("socket")),
        "expected a file or a new name, found a socket"
    );
    symlink("socket", at("link")).unwrap();
    assert!(refusal(&at("link")).ends_with("found a socket"));
    let made = std::process::Command::new("mkfifo")
        .arg(at("pipe"))
        .status();
    assert!(made.unwrap().success());
    assert!(refusal(&at("pipe")).ends_with("found a pipe"));
    assert!(
        growing(&at("pipe")).is_err(),
        "and does not wait for a reader"
    );
    let kept = |name: &str| fs::metadata(at(name)).unwrap().file_type();
    assert!(kept("socket").is_socket() && kept("pipe").is_fifo());

    fs::write(at("kept"), "old").unwrap();
    fs::set_permissions(at("kept"), fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(refusal(&at("kept")), "the file is read-only");
    assert_eq!(fs::read(at("kept")).unwrap(), b"old");
    let dash = refusal(Path::new("-"));
    assert!(dash.starts_with("expected the name of a file"), "{dash}");
    assert_eq!(names(folder.path()), ["kept", "link", "pipe", "socket"]);
}

#[test]
fn a_file_that_is_read_is_never_replaced_under_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("model"), "weights").unwrap();
    let source = source_file::SourceFile::open(&at("model")).unwrap();
    let around = at("around");
    fs::create_dir(&around).unwrap();
    let mut names = vec![at("model"), around.join("../model")];
    #[cfg(unix)]
    {
        fs::hard_link(at("model"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("model"), at("soft")).unwrap();
        names.extend([at("hard"), at("soft")]);
    }
    for name in names {
        let message = refusal(&name);
        assert!(message.contains("which is read"), "{message}");
    }
    // A file that is begun before its place is taken is not put there.
    let begun = WholeFile::create(&at("new")).unwrap();
    fs::hard_link(at("model"), at("new")).unwrap();
    let message = begun.finish().unwrap_err().to_string();
    assert!(message.contains("which is read"), "{message}");
    assert_eq!(fs::read(at("new")).unwrap(), b"weights");
    drop(source);
    write(&at("model"), b"other").unwrap();
}

#[test]
fn what_is_read_and_what_is_written_are_told_apart_by_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a", "b"] {
        fs::write(at(name), name).unwrap();
    }
    fs::hard_link(at("a"), at("c")).unwrap();
    fs::create_dir(at("deep")).unwrap();
    fs::write(at("deep/config.json"), "{}").unwrap();
    let check = |writes: &[&str], reads: &[&str], expected: &str| {
        let [writes, reads] =
            [writes, reads].map(|names| names.iter().map(|n| at(n)).collect::<Vec<_>>());
        let paths = |paths: &'_ [PathBuf]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let (writes, reads) = (paths(&writes), paths(&reads));
        let writes: Vec<&Path> = writes.iter().map(PathBuf::as_path).collect();
        let reads: Vec<&Path> = reads.iter().map(PathBuf::as_path).collect();
        let found = require_apart(&writes, &reads);
        let found = found.map_or_else(|error| error.to_string(), |()| "apart".into());
        assert!(found.contains(expected), "{found}");
    };
    check(&["b", "new"], &["a", "none"], "apart");
    check(&["a"], &["a"], "which is read");
    check(&["b", "c"], &["a"], "which is read");
    check(&["deep/../a"], &["a"], "which is read");
    check(&["b", "b"], &["a"], "is written twice");
    check(&["new", "deep/../new"], &["a"], "is written twice");
    // All of a folder is read: its files may not be replaced, but new ones be put beside them.
    check(&["deep/config.json"], &["deep"], "which is read");
    check(&["deep/new"], &["deep"], "apart");
}

#[test]
fn a_folder_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let begin = |name: &str| WholeFolder::create(&at(name), &["w", "c"], &["t"]);
    let write = |name: &str, text: &[u8]| -> io::Result<()> {
        let mut whole = begin(name)?;
        for file in ["w", "c"] {
            let mut file = whole.file(file)?;
            file.write_all(text)?;
            file.flush()?;
        }
        assert!(at(name).join("w").exists() == at(name).join("c").exists());
        whole.finish()
    };
    write("out", b"first").unwrap();
    assert_eq!(names(&at("out")), ["c", "w"]);
    fs::write(at("out/t"), "old").unwrap();
    // An earlier one is replaced as a whole: nothing of it stays.
    write("out", b"second").unwrap();
    assert_eq!(names(&at("out")), ["c", "w"]);
    assert_eq!(fs::read(at("out/w")).unwrap(), b"second");
    let mut dropped = begin("out").unwrap();
    dropped.file("w").unwrap().write_all(b"third").unwrap();
    drop(dropped);
    assert_eq!(fs::read(at("out/w")).unwrap(), b"second");

    let refused = |name: &str| begin(name).unwrap_err().to_string();
    fs::write(at("out/notes"), "mine").unwrap();
    assert!(refused("out").ends_with("found one with notes"));
    fs::remove_file(at("out/notes")).unwrap();
    fs::remove_file(at("out/c")).unwrap();
    assert!(refused("out").ends_with("found one without c"));
    fs::write(at("out/c"), "again").unwrap();
    let source = source_file::SourceFile::open(&at("out/c")).unwrap();
    assert!(refused("out").contains("which is read"));
    drop(source);
    fs::write(at("file"), "").unwrap();
    assert!(refused("file").ends_with("found a file"));
    assert!(refused("no/where").starts_with("there is no folder"));
    fs::create_dir(at("empty")).unwrap();
    write("empty", b"x").unwrap();
    assert_eq!(names(folder.path()), ["empty", "file", "out"]);
}

#[test]
fn what_is_half_written_goes_with_a_process_that_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("done"), b"done").unwrap();
    let file = WholeFile::create(&at("file")).unwrap();
    let mut whole = WholeFolder::create(&at("folder"), &[], &[]).unwrap();
    whole.file("deep").unwrap().write_all(b"x").unwrap();
    let scratch = Scratch::new().unwrap();
    assert_eq!(names(folder.path()).len(), 3);
    // Other tests write at the same time: only what is of this one is removed here.
    let ours = [folder.path(), scratch.path()];
    parts::remove_those(|part| ours.iter().any(|ours| part.starts_with(ours)));
    assert_eq!(names(folder.path()), ["done"]);
    assert!(!scratch.path().exists());
    drop((file, whole, scratch));
}
