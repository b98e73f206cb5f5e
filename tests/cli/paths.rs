//! Names that are no text, standard input, threads, and an account that has no home.

use super::{Bench, compress};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

fn ask(bench: &Bench, input: &[u8]) -> Output {
    let arguments = [
        "chat",
        "tiny.whittle",
        "--prompt",
        "-",
        "--max-tokens",
        "3",
        "--json",
    ];
    let mut command = bench.command(&arguments);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_prompt_comes_from_standard_input_without_its_line_end() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    let named = [
        "chat",
        "tiny.whittle",
        "--prompt",
        "hello you",
        "--max-tokens",
        "3",
    ];
    let expected = bench.json(&named)["logits_hash"].clone();
    for input in ["hello you", "hello you\n", "hello you\r\n"] {
        let output = ask(&bench, input.as_bytes());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["logits_hash"], expected, "{input:?}");
    }
    for (input, expected) in [
        (&b"\n"[..], "expected a prompt, found none"),
        (
            b"hello \xff",
            "expected a prompt in UTF-8 on standard input",
        ),
    ] {
        let output = ask(&bench, input);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            message.contains(expected) && message.trim_end().lines().count() == 1,
            "{message}"
        );
    }
}

#[test]
fn an_empty_prompt_is_no_prompt() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    for nothing in ["", " ", "\n"] {
        let message = bench.failure(&["chat", "tiny.whittle", "--prompt", nothing], 1);
        assert!(
            message.contains("expected a prompt, found none"),
            "{message}"
        );
    }
}

#[test]
fn threads_that_nobody_needs_are_refused() {
    let bench = Bench::new();
    compress(&bench, "balanced-4bit");
    for threads in ["0", "1025", "1000000"] {
        let chat = [
            "chat",
            "tiny.whittle",
            "--prompt",
            "hello",
            "--threads",
            threads,
        ];
        let message = bench.failure(&chat, 1);
        let expected = format!("expected 1 to 1024 threads, found {threads}");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn what_is_built_in_needs_no_home() {
    let bench = Bench::new();
    // Below a file there can be no folder, whoever asks.
    let nowhere = bench.path("text.txt").join("home");
    let out = ["--out", "h.whittle"];
    let prompt = ["--prompt", "turn on the light"];
    let commands: [&[&str]; 8] = [
        &["info", "hearth"],
        &["models"],
        &["boards"],
        &[
            &["compress", "hearth", "--recipe", "balanced-4bit"][..],
            &out,
        ]
        .concat(),
        &[&["chat", "h.whittle"][..], &prompt].concat(),
        &["estimate", "hearth"],
        &[
            "export",
            "h.whittle",
            "--model",
            "hearth",
            "--safetensors",
            "folder",
        ],
        &["calibrate", "hearth", "--calibration-tokens", "64"],
    ];
    for arguments in commands {
        let mut command = bench.command(arguments);
        for variable in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env(variable, &nowhere);
        }
        let output = command.env_remove("WHITTLE_CACHE").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        let is_calibrated = arguments[0] == "calibrate";
        assert_eq!(
            said.contains("is not kept for the next time"),
            is_calibrated,
            "{said}"
        );
    }
    assert!(bench.path("folder/tokenizer.json").exists());
}

// Other systems have text in names only, or on some disks.
#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_is_a_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::new();
    let odd = |name: &[u8]| OsStr::from_bytes(name).to_owned();
    let folder = bench.folder.path().join(odd(b"f\xff"));
    fs::create_dir(&folder).unwrap();
    fs::copy(bench.path("tiny.gguf"), folder.join(odd(b"m\xfe.gguf"))).unwrap();
    fs::copy(bench.path("text.txt"), folder.join(odd(b"t\xfe.txt"))).unwrap();
    fs::write(folder.join(odd(b"r\xfe.toml")), "name = 'mine'\n").unwrap();
    let task = r#"{"prompt": "hello", "answer": "x"}"#;
    fs::write(folder.join(odd(b"t\xfe.jsonl")), task).unwrap();
    let board = include_str!("../old-files/board.toml");
    fs::write(folder.join(odd(b"b\xfe.toml")), board).unwrap();
    let limits = "max_kl = 99.0\nreference = 'm.gguf'\ntext = 't.txt'\ntokens = 128\n";
    fs::write(folder.join(odd(b"l\xfe.toml")), limits).unwrap();
    fs::copy(bench.path("tiny.gguf"), folder.join("m.gguf")).unwrap();
    fs::copy(bench.path("text.txt"), folder.join("t.txt")).unwrap();
    let grid = "model = 'm.gguf'\nrecipe = 'original'\ntext = 't.txt'\ntokens = 128\n";
    fs::write(folder.join(odd(b"g\xfe.toml")), grid).unwrap();
    // `@` stands for the byte that is no text.
    let run = |arguments: &str| {
        let arguments = arguments.split(' ').map(|argument| {
            let bytes: Vec<u8> = argument
                .bytes()
                .map(|b| if b == b'@' { 0xfe } else { b })
                .collect();
            odd(&bytes)
        });
        let mut command = bench.command(&[]);
        let output = command
            .args(arguments)
            .arg("--json")
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    run("info m@.gguf");
    run("compress m@.gguf --recipe r@.toml --out p@.whittle");
    run("info p@.whittle");
    run("chat p@.whittle --prompt hello --max-tokens 2");
    run("estimate p@.whittle --board b@.toml");
    run("eval p@.whittle --tasks t@.jsonl --lines l@.jsonl");
    run("eval p@.whittle --reference m@.gguf --text t@.txt --tokens 128");
    run("report p@.whittle --reference m@.gguf --board b@.toml --out r@.html");
    run("check p@.whittle --limits l@.toml");
    run("sweep g@.toml");
    run("compare p@.whittle p@.whittle");
    run("export p@.whittle --model m@.gguf --gguf e@.gguf");
    run("export p@.whittle --model m@.gguf --safetensors e@");
    run("trim m@.gguf --text t@.txt --out s@.gguf");
    run("calibrate m@.gguf --calibration-text t@.txt --calibration-tokens 64");
    // JSON is text: what is none in a name is shown as such.
    let rotated = run("rotate m@.gguf --out n@.gguf");
    assert_eq!(rotated["file"], "n\u{fffd}.gguf");
    for name in [
        &b"l\xfe.jsonl"[..],
        b"r\xfe.html",
        b"n\xfe.gguf",
        b"e\xfe",
        b"g\xfe.csv",
    ] {
        assert!(folder.join(odd(name)).exists(), "{name:?}");
    }
}
