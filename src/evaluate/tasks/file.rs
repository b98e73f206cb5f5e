//! The task file: one JSON object a line, with a prompt and what its answer must be.

use super::TasksError;
use crate::job::Job;
use crate::packed::intent::IntentLine;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Largest file in bytes.
pub const MAX_BYTES: usize = 16 << 20;
/// Longest line in bytes.
pub const LONGEST_LINE_BYTES: usize = 64 << 10;
/// Most tasks in a file.
pub const MAX_TASKS: usize = 100_000;
/// Most bytes that a compiled pattern may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// Lines between two looks at whether to stop: patterns take a while to compile.
const LINES_A_REPORT: usize = 64;

/// One prompt, and what its answer must be.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its line in the file, from 1.
    pub line: usize,
    /// For people who look at one.
    pub name: Option<String>,
    /// What it is counted with: as the file says, or else the intent's name or the kind of its answer.
    pub group: String,
    /// System text; the chat template's own if there is none.
    pub system: Option<String>,
    /// The whole text of the user: lines of context, and the command as its last line.
    pub prompt: String,
    /// The prompt as the file has it, when `prompt` is what a recognizer made of it.
    pub said: Option<String>,
    /// What the answer must be.
    pub expected: Expected,
}

/// What an answer must be.
#[derive(Debug, Clone)]
pub enum Expected {
    /// This text, spaces at both ends aside.
    Answer(String),
    /// A text that has this in it, in capitals or not.
    Pattern(Regex),
    /// A first line with this intent and exactly these slots.
    Intent(IntentLine),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(text) => f.write_str(text),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
            Self::Intent(intent) => intent.fmt(f),
        }
    }
}

/// A line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: String,
    system: Option<String>,
    group: Option<String>,
    name: Option<String>,
    answer: Option<String>,
    pattern: Option<String>,
    intent: Option<String>,
    slots: Option<BTreeMap<String, Value>>,
}

/// Reads the bytes of a task file; blank lines are passed over. `name` is for messages.
///
/// # Errors
/// When the file is too large, has no task, or has a line that is none, with the line's number; or
/// when the job is cancelled.
pub fn parse(name: &str, bytes: &[u8], job: &Job<'_>) -> Result<Vec<Task>, TasksError> {
    if bytes.len() > MAX_BYTES {
        return Err(TasksError::Size { name: name.into() });
    }
    let mut tasks = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if index % LINES_A_REPORT == 0 {
            job.report("Reading tasks", index as u64, 0)?;
        }
        let refuse = |problem| TasksError::Line {
            name: name.into(),
            line: index + 1,
            problem,
        };
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if tasks.len() == MAX_TASKS {
            return Err(TasksError::Count { name: name.into() });
        }
        if line.len() > LONGEST_LINE_BYTES {
            let (most, found) = (LONGEST_LINE_BYTES, line.len());
            return Err(refuse(format!(
                "a task has at most {most} bytes, this one has {found}"
            )));
        }
        tasks.push(task(index + 1, line).map_err(refuse)?);
    }
    if tasks.is_empty() {
        return Err(TasksError::Empty { name: name.into() });
    }
    Ok(tasks)
}

fn task(number: usize, line: &[u8]) -> Result<Task, String> {
    if !line.starts_with(b"{") {
        return Err("expected a JSON object".to_owned());
    }
    // What JSON's reader sees is one line, which is not the file's first.
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        error
            .to_string()
            .replace(" at line 1 column ", " at column ")
    })?;
    let Line {
        prompt,
        system,
        group,
        name,
        answer,
        pattern,
        intent,
        slots,
    } = line;
    let texts = [
        ("prompt", Some(&prompt)),
        ("system", system.as_ref()),
        ("group", group.as_ref()),
        ("name", name.as_ref()),
        ("answer", answer.as_ref()),
        ("pattern", pattern.as_ref()),
    ];
    if let Some((key, _)) = texts
        .iter()
        .find(|(_, text)| text.is_some_and(|text| text.trim().is_empty()))
    {
        return Err(format!("`{key}` is empty"));
    }
    if slots.is_some() && intent.is_none() {
        return Err("`slots` need an `intent`".to_owned());
    }
    let (kind, expected) = match (answer, pattern, intent) {
        (Some(answer), None, None) => ("answer".to_owned(), Expected::Answer(answer)),
        (None, Some(text), None) => ("pattern".to_owned(), Expected::Pattern(pattern_of(&text)?)),
        (None, None, Some(intent)) => {
            let line = intent_line(intent, slots.unwrap_or_default())?;
            (line.intent.clone(), Expected::Intent(line))
        }
        (None, None, None) => {
            return Err("expected `answer`, `pattern` or `intent`, found none".to_owned());
        }
        (Some(_), _, _) | (_, Some(_), _) => {
            return Err("expected one of `answer`, `pattern` and `intent`, found more".to_owned());
        }
    };
    Ok(Task {
        line: number,
        name,
        group: group.unwrap_or(kind),
        system,
        prompt,
        said: None,
        expected,
    })
}

fn pattern_of(text: &str) -> Result<Regex, String> {
    let pattern = RegexBuilder::new(text)
        .case_insensitive(true)
        .size_limit(MAX_PATTERN_BYTES)
        .build();
    pattern.map_err(|error| match error {
        regex::Error::CompiledTooBig(most) => {
            format!("`pattern` takes more than {most} bytes when compiled")
        }
        // The last line says what is wrong; those before it draw where.
        error => {
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default();
            format!("`pattern`: {}", reason.trim_start_matches("error: "))
        }
    })
}

/// An intent that an answer can have: its line reads back as what it is.
fn intent_line(intent: String, slots: BTreeMap<String, Value>) -> Result<IntentLine, String> {
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        // Brightness and the like.
        Value::Number(number) => Ok((name, number.to_string())),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(format!(
            "expected a text or a number in slot `{name}`, found `{value}`"
        )),
    };
    let line = IntentLine {
        intent,
        slots: slots.into_iter().map(text).collect::<Result<_, _>>()?,
    };
    let text = line.to_string();
    match IntentLine::parse(&text) {
        Some(read) if read == line => Ok(line),
        Some(_) | None => Err(format!(
            "expected an intent line like `HassTurnOn@area kitchen`, found `{}`",
            text.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Task>, String> {
        parse("t.jsonl", text.as_bytes(), &Job::silent()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_has_a_prompt_and_what_its_answer_must_be() {
        let tasks = read(
            "{\"prompt\": \"hall to 40\", \"intent\": \"HassLightSet\", \"slots\": {\"brightness\": 40, \"area\": \"hall\"}}\r\n\
             \n\
             {\"prompt\": \"a\", \"system\": \"s\", \"answer\": \"b\", \"group\": \"g\", \"name\": \"n\"}\n\
             {\"prompt\": \"a\", \"pattern\": \"b+\"}",
        )
        .unwrap();
        let found: Vec<_> = tasks
            .iter()
            .map(|t| (t.line, t.group.as_str(), t.expected.to_string()))
            .collect();
        let expected = [
            (1, "HassLightSet", "HassLightSet@area hall@brightness 40"),
            (3, "g", "b"),
            (4, "pattern", "/b+/"),
        ];
        assert_eq!(found, expected.map(|(l, g, e)| (l, g, e.to_owned())));
        let second = (tasks[1].system.as_deref(), tasks[1].name.as_deref());
        assert_eq!(second, (Some("s"), Some("n")));
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_number_and_one_sentence() {
        let good = r#"{"prompt": "a", "answer": "b"}"#;
        let check = |line: &str, expected: &str| {
            let message = read(&format!("{good}\n{line}\n")).unwrap_err();
            assert!(
                message.starts_with("t.jsonl, line 2: ") && message.contains(expected),
                "{line}: {message}"
            );
            assert_eq!(message.lines().count(), 1, "{message}");
        };
        check("prompt", "expected a JSON object");
        check("[1]", "expected a JSON object");
        check("{\"prompt\": \"a", "at column");
        check(r#"{"answer": "b"}"#, "prompt");
        check(r#"{"prompt": "a"}"#, "found none");
        check(
            r#"{"prompt": "a", "answer": "b", "pattern": "c"}"#,
            "found more",
        );
        check(
            r#"{"prompt": "a", "pattern": "b", "intent": "Chat"}"#,
            "found more",
        );
        check(
            r#"{"prompt": "a", "answer": "b", "slots": {}}"#,
            "need an `intent`",
        );
        check(r#"{"prompt": " ", "answer": "b"}"#, "`prompt` is empty");
        check(r#"{"prompt": "a", "pattern": ""}"#, "`pattern` is empty");
        check(r#"{"prompt": "a", "answer": "b", "answr": "c"}"#, "answr");
        check(
            r#"{"prompt": "a", "answer": "b", "answer": "c"}"#,
            "duplicate",
        );
        check(r#"{"prompt": "a", "pattern": "(b"}"#, "unclosed group");
        check(r#"{"prompt": "a", "pattern": "(?=b)"}"#, "look-around");
        check(
            r#"{"prompt": "a", "pattern": "(\\w{999}){999}"}"#,
            "when compiled",
        );
        check(r#"{"prompt": "a", "intent": "turn on"}"#, "found `turn on`");
        check(
            r#"{"prompt": "a", "intent": "Chat", "slots": {"a": "b@c d"}}"#,
            "expected an intent line",
        );
        check(
            r#"{"prompt": "a", "intent": "Chat", "slots": {"a": true}}"#,
            "expected a text or a number in slot `a`, found `true`",
        );
        let long = format!(
            "{{\"prompt\": \"{}\", \"answer\": \"b\"}}",
            "a".repeat(LONGEST_LINE_BYTES)
        );
        check(&long, "at most 65536 bytes");
    }

    #[test]
    fn a_file_is_not_empty_and_not_too_large() {
        let check = |text: &str, expected: &str| {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        check("", "found none");
        check("\n \n", "found none");
        check(&" ".repeat(MAX_BYTES + 1), "at most 16777216 bytes");
        check(
            &"{\"prompt\":\"a\",\"answer\":\"b\"}\n".repeat(MAX_TASKS + 1),
            "at most 100000 tasks",
        );
    }

    #[test]
    fn reading_stops_when_it_is_cancelled() {
        let cancel = crate::job::CancelToken::new();
        cancel.cancel();
        let job = Job::new(&|_| {}, cancel);
        let error = parse("t.jsonl", b"{}", &job).unwrap_err();
        assert!(matches!(error, TasksError::Cancelled(_)), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse("t.jsonl", &bytes, &Job::silent()));
        }

        #[test]
        fn no_change_of_a_good_file_makes_it_panic(
            at in any::<prop::sample::Index>(),
            length in 0_usize..8,
            new in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut bytes = br#"{"prompt": "a", "group": "g", "intent": "HassX", "slots": {"a": "b", "c": 1e3}}
    {"prompt": "a", "pattern": "^(a|b){2,3}[\\d\\p{Greek}]?$"}"#
                .to_vec();
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, new);
            if let Ok(tasks) = parse("t.jsonl", &bytes, &Job::silent()) {
                prop_assert!(!tasks.is_empty() && tasks.len() <= 8);
            }
        }
    }
}
