//! What cannot run here says so, and fails where everything must run.

#[path = "support/required.rs"]
mod required;

use required::{Demand, left_out};

#[test]
fn a_test_that_cannot_run_is_left_out_or_fails() {
    for (variable, demand) in [
        (None, Demand::WhatIsPossible),
        (Some(""), Demand::WhatIsPossible),
        (Some("0"), Demand::WhatIsPossible),
        (Some("1"), Demand::Everything),
    ] {
        assert_eq!(Demand::of(variable), demand, "{variable:?}");
    }
    for demand in [Demand::WhatIsPossible, Demand::Everything] {
        assert_eq!(left_out(Ok(3), demand), Some(3));
    }
    let lacking: Result<(), _> = Err("no emulator".to_owned());
    assert_eq!(left_out(lacking.clone(), Demand::WhatIsPossible), None);
    let failed = std::panic::catch_unwind(|| left_out(lacking, Demand::Everything));
    let failed = failed.expect_err("a failed test");
    let sentence = failed.downcast_ref::<String>().expect("a sentence");
    assert!(sentence.contains("no emulator"), "{sentence}");
}

/// The scripts of `make lint` and `make test` without the tools that they look for.
#[cfg(unix)]
mod scripts {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Output};

    /// A machine whose own programs come before the system's.
    struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        fn new(programs: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, text) in programs {
                let path = folder.path().join(name);
                fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
            }
            Self { folder }
        }

        fn run(&self, script: &str, everything: Option<&str>) -> Output {
            let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
            let mut command = Command::new("sh");
            command
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
                .env("PATH", path)
                .env("XDG_CACHE_HOME", self.folder.path())
                .env_remove("WHITTLE_TEST_ALL");
            if let Some(value) = everything {
                command.env("WHITTLE_TEST_ALL", value);
            }
            command.output().expect("a shell")
        }

        /// Every sentence is said, and with the variable the first of them is an error.
        fn leaves_out(&self, script: &str, sentences: &[&str]) {
            for everything in [None, Some("0")] {
                let output = self.run(script, everything);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{script}: {said}");
                for sentence in sentences {
                    assert!(said.contains(sentence), "{sentence}: {said}");
                }
            }
            let output = self.run(script, Some("1"));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{script}: {said}");
            assert!(said.contains(sentences[0]), "{said}");
            assert!(said.contains("WHITTLE_TEST_ALL"), "{said}");
        }
    }

    #[test]
    fn lint_without_its_tools_says_what_it_did_not_look_at() {
        let offline = Machine::new(&[("python3", "echo no network >&2; exit 1")]);
        offline.leaves_out(
            "scripts/lint-tools.sh",
            &["left out: licences and sources", "left out: spelling"],
        );
    }

    /// The run of the slow tests, with a cargo that says what they said.
    #[test]
    fn a_slow_test_that_did_not_run_is_as_red_as_one_that_failed() {
        let run = |lines: &str, more: &str| {
            let said =
                format!("sed -e 's/.*/test & ... ok/' {lines} tests/slow/tests.txt; echo {more}");
            let machine = Machine::new(&[("cargo", &said)]);
            let output = machine.run("scripts/test-slow.sh", None);
            let text = [output.stdout, output.stderr].concat();
            (
                output.status.code(),
                String::from_utf8_lossy(&text).into_owned(),
            )
        };
        let (code, text) = run("", "test result: ok.");
        assert_eq!(code, Some(0), "{text}");
        let third = include_str!("slow/tests.txt")
            .lines()
            .nth(2)
            .expect("a name");
        for changed in ["-e 3d", "-e '3s/ok$/ignored/'", "-e '3s/ok$/FAILED/'"] {
            let (code, text) = run(changed, "test result: ok.");
            assert_eq!(code, Some(1), "{changed}: {text}");
            assert!(text.contains(&format!("< {third}")), "{changed}: {text}");
        }
        // A test that the list does not have.
        let (code, text) = run("", "test new::one ... ok");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("> new::one"), "{text}");
    }

    #[test]
    fn the_kernels_of_neon_are_left_out_on_other_systems_only_with_a_word() {
        let other = Machine::new(&[("uname", "[ \"$1\" = -m ] && echo arm64 || echo Darwin")]);
        other.leaves_out(
            "scripts/test-neon.sh",
            &["left out: the engine's tests for aarch64"],
        );
    }
}
