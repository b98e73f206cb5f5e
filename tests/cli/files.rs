//! What commands read and write: no result replaces what must stay, and none is left half written.

use super::{Bench, compress};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// A command of each kind that writes a file, with `OUT` where its name goes.
const WRITERS: [&[&str]; 8] = [
    &[
        "compress",
        "tiny.gguf",
        "--recipe",
        "r.toml",
        "--out",
        "OUT",
    ],
    &["rotate", "tiny.gguf", "--out", "OUT"],
    &["trim", "tiny.gguf", "--text", "text.txt", "--out", "OUT"],
    &["tune", "tiny.gguf", "--bytes", "1MB", "--out", "OUT"],
    &[
        "tune",
        "tiny.gguf",
        "--bytes",
        "1MB",
        "--out",
        "r2.toml",
        "--front",
        "OUT",
    ],
    &[
        "export",
        "tiny.whittle",
        "--model",
        "tiny.gguf",
        "--gguf",
        "OUT",
    ],
    &[
        "report",
        "tiny.whittle",
        "--reference",
        "tiny.gguf",
        "--out",
        "OUT",
    ],
    &[
        "eval",
        "tiny.whittle",
        "--tasks",
        "tasks.jsonl",
        "--lines",
        "OUT",
    ],
];

fn bench() -> Bench {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    fs::write(bench.path("r.toml"), "name = 'mine'\n").unwrap();
    let tasks = r#"{"prompt": "hello", "answer": "x"}"#;
    fs::write(bench.path("tasks.jsonl"), format!("{tasks}\n")).unwrap();
    bench
}

fn with_out(arguments: &[&str], out: &str) -> Vec<String> {
    let named = arguments.iter().map(|a| if *a == "OUT" { out } else { a });
    named.map(ToString::to_string).collect()
}

/// Runs a command that must fail with one sentence, and says it.
fn refusal(bench: &Bench, arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let message = bench.failure(&arguments, 1);
    assert_eq!(
        message.trim_end().lines().count(),
        1,
        "{arguments:?}: {message}"
    );
    message
}

fn names(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(bench.folder.path()).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().display().to_string());
    let mut names: Vec<String> = names.filter(|name| name != "cache").collect();
    names.sort();
    names
}

#[test]
fn no_command_writes_over_what_it_reads_under_any_name() {
    let bench = bench();
    let inputs = [
        "tiny.gguf",
        "tiny.whittle",
        "text.txt",
        "r.toml",
        "tasks.jsonl",
    ];
    let before = inputs.map(|name| fs::read(bench.path(name)).unwrap());
    fs::create_dir(bench.path("deep")).unwrap();
    let there = names(&bench);
    for arguments in WRITERS {
        let reads = inputs.iter().filter(|input| arguments.contains(input));
        for input in reads {
            for (index, name) in [(*input).to_owned(), format!("deep/../{input}")]
                .iter()
                .enumerate()
            {
                let message = refusal(&bench, &with_out(arguments, name));
                assert!(
                    message.contains("which is read"),
                    "{index} {arguments:?}: {message}"
                );
            }
            for link in links(&bench, input) {
                let message = refusal(&bench, &with_out(arguments, link));
                assert!(
                    message.contains("which is read"),
                    "{arguments:?} {link}: {message}"
                );
                fs::remove_file(bench.path(link)).unwrap();
            }
        }
    }
    let spoken = [
        "talk",
        "tiny.whittle",
        "--in",
        "text.txt",
        "--out",
        "text.txt",
    ];
    let said = bench.failure(&spoken, 1);
    assert!(said.contains("which is read"), "{said}");
    let drawn = ["studio", "tiny.gguf", "--screenshot", "tiny.gguf"];
    let said = bench.failure(&drawn, 1);
    assert!(said.contains("which is read"), "{said}");
    let twice = [
        "tune",
        "tiny.gguf",
        "--bytes",
        "1MB",
        "--out",
        "x",
        "--pack",
        "./x",
    ];
    let said = bench.failure(&twice, 1);
    assert!(said.contains("is written twice"), "{said}");
    assert_eq!(
        inputs.map(|name| fs::read(bench.path(name)).unwrap()),
        before
    );
    assert_eq!(names(&bench), there);
}

/// Other names of a file, which the caller removes.
fn links(bench: &Bench, input: &str) -> Vec<&'static str> {
    fs::hard_link(bench.path(input), bench.path("hard")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(input, bench.path("soft")).unwrap();
        vec!["hard", "soft"]
    }
    #[cfg(not(unix))]
    vec!["hard"]
}

#[test]
fn a_sweep_writes_over_nothing_that_its_grid_names() {
    let bench = bench();
    let grid = "model = 'tiny.gguf'\nrecipe = 'original'\ntext = 'out.csv'\n";
    fs::write(bench.path("grid.toml"), grid).unwrap();
    fs::rename(bench.path("text.txt"), bench.path("out.csv")).unwrap();
    let message = bench.failure(&["sweep", "grid.toml", "--out", "out"], 1);
    assert!(message.contains("which is read"), "{message}");
    assert!(
        fs::read(bench.path("out.csv"))
            .unwrap()
            .starts_with(b"the light")
    );
}

#[test]
fn an_export_as_a_folder_is_whole_or_not_there_and_replaces_earlier_exports_only() {
    let bench = bench();
    let export = |to: &str| {
        let of = ["export", "tiny.whittle", "--model", "tiny.gguf"];
        bench.run(&[&of[..], &["--safetensors", to]].concat())
    };
    assert!(export("out").status.success());
    let weights = fs::read(bench.path("out/model.safetensors")).unwrap();
    fs::write(bench.path("out/model.safetensors"), "other").unwrap();
    assert!(export("out").status.success(), "an earlier export");
    assert!(fs::read(bench.path("out/model.safetensors")).unwrap() == weights);

    fs::create_dir(bench.path("mine")).unwrap();
    fs::write(bench.path("mine/diary.txt"), "dear").unwrap();
    let refused = export("mine");
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(message.contains("found one with diary.txt"), "{message}");
    assert_eq!(fs::read_dir(bench.path("mine")).unwrap().count(), 1);
}

#[test]
fn where_nothing_can_be_written_is_said_before_the_work() {
    let bench = bench();
    fs::write(bench.path("kept"), "old").unwrap();
    let mut permissions = fs::metadata(bench.path("kept")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(bench.path("kept"), permissions).unwrap();
    fs::create_dir(bench.path("folder")).unwrap();
    let there = names(&bench);
    for arguments in WRITERS {
        for (out, expected) in [
            ("no/such/folder/out", "there is no folder no/such/folder"),
            ("kept", "the file is read-only"),
            ("folder", "is a directory"),
            ("-", "expected the name of a file"),
            #[cfg(target_os = "linux")]
            ("/dev/stdout", "expected the name of a file"),
        ] {
            let message = refusal(&bench, &with_out(arguments, out));
            assert!(message.contains(expected), "{arguments:?} {out}: {message}");
        }
    }
    assert_eq!(fs::read(bench.path("kept")).unwrap(), b"old");
    assert_eq!(names(&bench), there);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::io::Write as _;
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::{Child, Command};
    use std::time::{Duration, SystemTime};

    fn pipe(path: &Path) {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }

    /// A device node of this test's own that swallows what is written, as `/dev/null` does; whoever may not
    /// make one goes without.
    fn device(path: &Path) -> bool {
        let arguments = ["c", "1", "3"];
        let made = Command::new("mknod")
            .arg(path)
            .args(arguments)
            .stderr(Stdio::null())
            .status();
        made.is_ok_and(|status| status.success())
    }

    #[test]
    fn what_is_no_file_stays_what_it_is() {
        let bench = bench();
        let _listener = UnixListener::bind(bench.path("socket")).unwrap();
        pipe(&bench.path("pipe"));
        let mut special = vec!["socket", "pipe"];
        if device(&bench.path("device")) {
            special.push("device");
        }
        for name in special.clone() {
            symlink(name, bench.path(&format!("to-{name}"))).unwrap();
        }
        let kind = |name: &str| {
            let kind = fs::symlink_metadata(bench.path(name)).unwrap().file_type();
            (kind.is_socket(), kind.is_fifo(), kind.is_char_device())
        };
        let before: Vec<_> = special.iter().map(|name| kind(name)).collect();
        let there = names(&bench);
        for arguments in WRITERS {
            for name in &special {
                for out in [(*name).to_owned(), format!("to-{name}")] {
                    let message = refusal(&bench, &with_out(arguments, &out));
                    let expected = format!("expected a file or a new name, found a {name}");
                    assert!(message.contains(&expected), "{arguments:?}: {message}");
                }
            }
        }
        let of = [
            "export",
            "tiny.whittle",
            "--model",
            "tiny.gguf",
            "--safetensors",
        ];
        for name in &special {
            bench.failure(&[&of[..], &[name]].concat(), 1);
        }
        fs::write(
            bench.path("grid.toml"),
            "model = 'tiny.gguf'\nrecipe = 'original'",
        )
        .unwrap();
        pipe(&bench.path("rows.jsonl"));
        let message = bench.failure(&["sweep", "grid.toml", "--out", "rows"], 1);
        assert!(message.contains("found a pipe"), "{message}");
        let after: Vec<_> = special.iter().map(|name| kind(name)).collect();
        assert_eq!(after, before);
        fs::remove_file(bench.path("rows.jsonl")).unwrap();
        fs::remove_file(bench.path("grid.toml")).unwrap();
        assert_eq!(names(&bench), there);
    }

    #[test]
    fn the_target_of_a_link_is_written_and_the_link_stays() {
        let bench = bench();
        fs::create_dir(bench.path("deep")).unwrap();
        symlink("deep/new", bench.path("link")).unwrap();
        for _ in 0..2 {
            let out = with_out(WRITERS[0], "link");
            let out: Vec<&str> = out.iter().map(String::as_str).collect();
            bench.json(&out);
            assert!(
                fs::symlink_metadata(bench.path("link"))
                    .unwrap()
                    .is_symlink()
            );
            assert!(fs::metadata(bench.path("deep/new")).unwrap().len() > 4096);
        }
    }

    /// Runs a command under a limit on the length of the files that it writes, in blocks of the shell's.
    fn limited(bench: &Bench, arguments: &[String]) -> (Option<i32>, String) {
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -f 1; exec \"$@\"",
                "sh",
                env!("CARGO_BIN_EXE_whittle"),
            ])
            .args(arguments)
            .current_dir(bench.folder.path())
            .env("WHITTLE_CACHE", bench.path("cache"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    #[test]
    fn a_file_that_cannot_be_written_to_its_end_leaves_the_older_one_and_nothing_else() {
        let bench = bench();
        fs::write(bench.path("out"), "old").unwrap();
        let there = names(&bench);
        let long = [WRITERS[0], WRITERS[1], WRITERS[2], WRITERS[5], WRITERS[6]];
        for arguments in long {
            let (code, message) = limited(&bench, &with_out(arguments, "out"));
            assert_eq!(code, Some(1), "{arguments:?}: {message}");
            assert!(
                message.contains("cannot write") && message.contains("too large"),
                "{arguments:?}: {message}"
            );
            assert_eq!(message.trim_end().lines().count(), 1, "{message}");
        }
        let of = [
            "export",
            "tiny.whittle",
            "--model",
            "tiny.gguf",
            "--safetensors",
            "folder",
        ];
        let (code, message) = limited(&bench, &of.map(ToString::to_string));
        assert_eq!(code, Some(1), "{message}");
        assert_eq!(fs::read(bench.path("out")).unwrap(), b"old");
        assert_eq!(names(&bench), there);
    }

    #[test]
    fn a_model_that_is_a_pipe_is_refused_at_once() {
        let bench = bench();
        for name in ["pipe", "pipe.whittle"] {
            pipe(&bench.path(name));
        }
        fs::create_dir(bench.path("folder")).unwrap();
        pipe(&bench.path("folder/config.json"));
        for arguments in [
            &["info", "pipe"][..],
            &["info", "pipe.whittle"],
            &["info", "folder"],
            &["chat", "pipe", "--prompt", "hello"],
            &["compress", "pipe", "--recipe", "original", "--out", "new"],
        ] {
            let message = bench.failure(arguments, 1);
            assert!(
                message.contains("expected a file, found a pipe"),
                "{arguments:?}: {message}"
            );
        }
        let message = bench.failure(&["info", "/dev/null"], 1);
        assert!(
            message.contains("expected a file, found a device"),
            "{message}"
        );
    }

    /// A model that is long enough to be read in place: what is behind its tensors is a hole.
    fn large(bench: &Bench) -> File {
        fs::copy(bench.path("tiny.gguf"), bench.path("large.gguf")).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(bench.path("large.gguf"))
            .unwrap();
        file.set_len(20 << 20).unwrap();
        file
    }

    /// Starts an evaluation that has opened its models, and waits for its text; what to hand it over by.
    fn waiting(bench: &Bench, model: &str) -> (Child, File) {
        let _kept = fs::remove_file(bench.path("words"));
        pipe(&bench.path("words"));
        let arguments = [
            "eval",
            "tiny.whittle",
            "--reference",
            model,
            "--text",
            "words",
        ];
        let mut command = bench.command(&arguments);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Opens once somebody reads, which is after the models.
        (
            child,
            OpenOptions::new()
                .write(true)
                .open(bench.path("words"))
                .unwrap(),
        )
    }

    fn said(child: Child, mut words: File) -> (Option<i32>, String) {
        words
            .write_all("the light in the kitchen is on. ".repeat(60).as_bytes())
            .unwrap();
        drop(words);
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_model_that_changes_while_it_is_read_ends_the_command_with_a_sentence() {
        let bench = bench();
        let check = |change: &dyn Fn(&File), expected: &str| {
            let file = large(&bench);
            let (child, words) = waiting(&bench, "large.gguf");
            change(&file);
            let (code, text) = said(child, words);
            assert_eq!(code, Some(1), "{text}");
            assert_eq!(
                text.trim_end(),
                format!("whittle: large.gguf changed while it was read: {expected}")
            );
        };
        let cut = |file: &File| file.set_len(1000).unwrap();
        check(&cut, "expected 20971520 bytes, found 1000");
        let emptied = |file: &File| file.set_len(0).unwrap();
        check(&emptied, "expected 20971520 bytes, found 0");
        let overwritten = |mut file: &File| {
            file.write_all(&vec![0x55; 200_000]).unwrap();
            let later = SystemTime::now() + Duration::from_secs(9);
            file.set_modified(later).unwrap();
        };
        check(&overwritten, "it was written to");
    }

    #[test]
    fn a_small_model_is_what_it_was_whatever_becomes_of_its_file() {
        let bench = bench();
        let figures = |text: &str| text.lines().nth(1).unwrap().to_owned();
        let (child, words) = waiting(&bench, "tiny.gguf");
        let (code, undisturbed) = said(child, words);
        assert_eq!(code, Some(0), "{undisturbed}");
        let (child, words) = waiting(&bench, "tiny.gguf");
        fs::write(bench.path("tiny.gguf"), "gone").unwrap();
        let (code, text) = said(child, words);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(figures(&text), figures(&undisturbed));
    }

    #[test]
    fn nothing_is_left_of_what_was_written_from_a_model_that_changed() {
        let bench = bench();
        let file = large(&bench);
        fs::write(bench.path("out.whittle"), "old").unwrap();
        pipe(&bench.path("words"));
        let there = names(&bench);
        let arguments = [
            "compress",
            "large.gguf",
            "--recipe",
            "original",
            "--set",
            "*=bits:4,method:search",
            "--calibration-text",
            "words",
            "--out",
            "out.whittle",
        ];
        let mut command = bench.command(&arguments);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let words = OpenOptions::new()
            .write(true)
            .open(bench.path("words"))
            .unwrap();
        file.set_len(4096).unwrap();
        let (code, text) = said(child, words);
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("large.gguf changed while it was read"),
            "{text}"
        );
        assert_eq!(fs::read(bench.path("out.whittle")).unwrap(), b"old");
        assert_eq!(names(&bench), there);
    }
}
