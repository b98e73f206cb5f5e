//! What held: line by line, group by group, and in all.

use super::file::{Expected, Task};
use crate::packed::intent::IntentLine;
use serde::Serialize;
use std::collections::BTreeMap;

/// Normal quantile of a two-sided interval of 95 %.
const Z_95: f64 = 1.959_963_984_540_054;

/// How many of how many held, with the 95 % interval of Wilson (1927, "Probable inference, the law
/// of succession, and statistical inference", J. Am. Stat. Assoc. 22), without continuity correction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Lines that held.
    pub held: usize,
    /// Lines in all, at least one.
    pub of: usize,
    /// `held` over `of`, 0 to 1.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Share {
    /// The share of `held` lines of `of`; nothing when there are none.
    #[must_use]
    pub fn new(held: usize, of: usize) -> Option<Self> {
        if of == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "files have at most 100,000 lines"
        )]
        let (p, n) = (held as f64 / of as f64, of as f64);
        let z2 = Z_95 * Z_95;
        let middle = p + z2 / (2.0 * n);
        let half = Z_95 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        Some(Self {
            held,
            of,
            share: p,
            low: ((middle - half) / scale).max(0.0),
            high: ((middle + half) / scale).min(1.0),
        })
    }
}

/// One task and what the model made of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineResult {
    /// Line of the task file, from 1.
    pub line: usize,
    /// The task's name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is counted with.
    pub group: String,
    /// What was said, when the prompt is what was understood of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// What was asked.
    pub prompt: String,
    /// What the answer had to be: a text, an intent line, or a pattern between slashes.
    pub expected: String,
    /// The answer; empty when there was none.
    pub got: String,
    /// Why the answer ended, as in `StopReason::name`; empty when there was none.
    pub stop: &'static str,
    /// Whether the answer's intent is the expected one, slots aside; for tasks with an intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent_held: Option<bool>,
    /// Whether the answer is what was expected: slots too.
    pub held: bool,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl LineResult {
    /// Compares an answer with what its task expects.
    pub(super) fn of(task: &Task, answer: &str, stop: &'static str) -> Self {
        let (intent_held, held) = match &task.expected {
            Expected::Answer(expected) => (None, answer.trim() == expected.trim()),
            Expected::Pattern(pattern) => (None, pattern.is_match(answer)),
            Expected::Intent(expected) => {
                let line = answer.split('\n').next().unwrap_or_default();
                let found = IntentLine::parse(line);
                let same = |found: &IntentLine| found.intent == expected.intent;
                let intent_held = found.as_ref().is_some_and(same);
                (Some(intent_held), found.as_ref() == Some(expected))
            }
        };
        Self {
            line: task.line,
            name: task.name.clone(),
            group: task.group.clone(),
            said: task.said.clone(),
            prompt: task.prompt.clone(),
            expected: task.expected.to_string(),
            got: answer.to_owned(),
            stop,
            intent_held,
            held,
            problem: None,
        }
    }

    /// A task whose prompt the model cannot take.
    pub(super) fn unanswered(task: &Task, problem: String) -> Self {
        Self {
            held: false,
            // Not even a pattern that fits an empty text holds without an answer.
            intent_held: match task.expected {
                Expected::Intent(_) => Some(false),
                Expected::Answer(_) | Expected::Pattern(_) => None,
            },
            problem: Some(problem),
            ..Self::of(task, "", "")
        }
    }
}

/// What held in one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupScore {
    /// Its name.
    pub group: String,
    /// Tasks that held, slots too.
    pub held: Share,
    /// Of those with an intent, how many had it right, slots aside.
    pub intents: Option<Share>,
}

/// What held in all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// Tasks that held, slots too, each task counting the same (micro average).
    pub held: Share,
    /// Of those with an intent, how many had it right, slots aside (micro average).
    pub intents: Option<Share>,
    /// Mean of `held` over groups, each group counting the same, 0 to 1.
    pub macro_held: f64,
    /// Mean of `intents` over the groups that have them, 0 to 1.
    pub macro_intents: Option<f64>,
    /// Tasks that the model could not answer; they count as not held.
    pub unanswered: usize,
    /// Longest answer that was allowed, in tokens.
    pub max_tokens: usize,
    /// Each group, by name.
    pub groups: Vec<GroupScore>,
    /// Each task, in the file's order.
    #[serde(skip)]
    pub lines: Vec<LineResult>,
}

impl TaskReport {
    /// Adds up `lines`, of which there is at least one.
    pub(super) fn new(lines: Vec<LineResult>, max_tokens: usize) -> Self {
        let mut by_group: BTreeMap<&str, Vec<&LineResult>> = BTreeMap::new();
        for line in &lines {
            by_group.entry(&line.group).or_default().push(line);
        }
        let group = |(group, lines): (&str, Vec<&LineResult>)| GroupScore {
            group: group.to_owned(),
            held: held(&lines).expect("a group has a line"),
            intents: intents(&lines),
        };
        let groups: Vec<GroupScore> = by_group.into_iter().map(group).collect();
        let all: Vec<&LineResult> = lines.iter().collect();
        Self {
            held: held(&all).expect("a task file has a task"),
            intents: intents(&all),
            macro_held: mean(groups.iter().map(|g| g.held)).expect("a task has a group"),
            macro_intents: mean(groups.iter().filter_map(|g| g.intents)),
            unanswered: lines.iter().filter(|l| l.problem.is_some()).count(),
            max_tokens,
            groups,
            lines,
        }
    }
}

fn held(lines: &[&LineResult]) -> Option<Share> {
    Share::new(lines.iter().filter(|line| line.held).count(), lines.len())
}

fn intents(lines: &[&LineResult]) -> Option<Share> {
    let of = lines.iter().filter_map(|line| line.intent_held);
    let held = of.clone().filter(|held| *held).count();
    Share::new(held, of.count())
}

fn mean(shares: impl Iterator<Item = Share>) -> Option<f64> {
    let (sum, count) = shares.fold((0.0, 0.0), |(sum, count), s| (sum + s.share, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tasks::parse;
    use crate::job::Job;

    #[test]
    fn an_interval_is_wilsons() {
        let check = |held, of, low: f64, high: f64| {
            let share = Share::new(held, of).unwrap();
            let near = |a: f64, b: f64| (a - b).abs() < 5e-5;
            assert!(
                near(share.low, low) && near(share.high, high),
                "{share:?}, expected {low} to {high}"
            );
        };
        // Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        check(81, 263, 0.2553, 0.3662);
        check(15, 148, 0.0624, 0.1605);
        check(0, 20, 0.0, 0.1611);
        check(1, 29, 0.0061, 0.1718);
        check(20, 20, 1.0 - 0.1611, 1.0);
        assert_eq!(Share::new(0, 0), None);
    }

    fn held(task: &str, answer: &str) -> (Option<bool>, bool) {
        let tasks = parse("t", task.as_bytes(), &Job::silent()).unwrap();
        let result = LineResult::of(&tasks[0], answer, "stop_token");
        (result.intent_held, result.held)
    }

    #[test]
    fn an_answer_holds_by_text_pattern_or_intent() {
        let text = r#"{"prompt": "a", "answer": "It is on."}"#;
        assert_eq!(held(text, " It is on.\n"), (None, true));
        assert_eq!(held(text, "it is on."), (None, false));
        let pattern = r#"{"prompt": "a", "pattern": "\\bon\\b|lit"}"#;
        assert_eq!(held(pattern, "It is ON now"), (None, true));
        assert_eq!(held(pattern, "only"), (None, false));
        let intent = r#"{"prompt": "a", "intent": "HassTurnOn", "slots": {"area": "hall"}}"#;
        let check = |answer: &str, expected: (bool, bool)| {
            assert_eq!(
                held(intent, answer),
                (Some(expected.0), expected.1),
                "{answer:?}"
            );
        };
        check("HassTurnOn@area hall\nDone.", (true, true));
        check("HassTurnOn@area hall", (true, true));
        check("HassTurnOn@area hall@domain light\nDone.", (true, false));
        check("HassTurnOn\nDone.", (true, false));
        check("HassTurnOff@area hall\nDone.", (false, false));
        check("Turned on. HassTurnOn@area hall", (false, false));
        check("\nHassTurnOn@area hall", (false, false));
        check("", (false, false));
    }

    #[test]
    fn groups_count_alike_in_the_macro_average_and_lines_in_the_micro() {
        let task = |group: &str, expected: &str| {
            format!("{{\"prompt\": \"a\", \"group\": \"{group}\", {expected}}}\n")
        };
        let intent = "\"intent\": \"HassTurnOn\", \"slots\": {\"area\": \"hall\"}";
        let file = [
            task("x", intent),
            task("x", intent),
            task("x", intent),
            task("y", "\"answer\": \"b\""),
        ]
        .concat();
        let tasks = parse("t", file.as_bytes(), &Job::silent()).unwrap();
        let answers = ["HassTurnOn@area hall\nOn.", "HassTurnOn\nOn.", "Yes.", "b"];
        let mut lines: Vec<LineResult> = tasks
            .iter()
            .zip(answers)
            .map(|(task, answer)| LineResult::of(task, answer, "stop_token"))
            .collect();
        lines.push(LineResult::unanswered(&tasks[3], "too long".into()));
        let report = TaskReport::new(lines, 96);
        let counts = |share: Share| (share.held, share.of);
        assert_eq!(counts(report.held), (2, 5));
        assert_eq!(report.intents.map(counts), Some((2, 3)));
        let groups: Vec<_> = report
            .groups
            .iter()
            .map(|g| (g.group.as_str(), counts(g.held), g.intents.map(counts)))
            .collect();
        let expected = [("x", (1, 3), Some((2, 3))), ("y", (1, 2), None)];
        assert_eq!(groups, expected);
        assert!((report.macro_held - (1.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        assert!((report.macro_intents.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(report.unanswered, 1);
    }
}
