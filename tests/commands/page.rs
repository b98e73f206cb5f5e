//! The commands of a page in Markdown.

/// How a command stands in its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// After a `$` in a `console` block, with what it prints: it is run.
    Run,
    /// In any other block: it only has to be a command.
    Told,
    /// In a sentence or a table, with placeholders.
    Named,
}

/// `whittle` and its arguments as written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) shown: Shown,
    pub(crate) text: String,
}

/// Every command of a page, in its order.
pub(crate) fn commands(text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut fence: Option<Shown> = None;
    for (index, line) in text.lines().enumerate() {
        let mut add = |shown, text: &str| {
            let (line, text) = (index + 1, text.trim_end().to_owned());
            commands.push(Command { line, shown, text });
        };
        if let Some(info) = line.strip_prefix("```") {
            fence = match fence {
                Some(_) => None,
                None if info == "console" => Some(Shown::Run),
                None => Some(Shown::Told),
            };
            continue;
        }
        let block = fence.or_else(|| line.starts_with("    ").then_some(Shown::Told));
        match block {
            Some(shown) => {
                let line = line.trim_start();
                if let Some(text) = line
                    .strip_prefix("$ ")
                    .or((shown == Shown::Told).then_some(line))
                    && text.starts_with("whittle ")
                {
                    add(shown, text);
                }
            }
            None => {
                // Every second piece stands between backquotes.
                for code in line.split('`').skip(1).step_by(2) {
                    if code.starts_with("whittle ") {
                        add(Shown::Named, code);
                    }
                }
            }
        }
    }
    commands
}

/// The words of a command as a shell splits them: quotes, and a comment at the end.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None::<char>);
    for c in text.chars() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn commands_are_found_where_they_stand() {
    let page = "`whittle info MODEL`, or `x` and `whittle models`\n\n    whittle boards  # all\n\n\
                ```console\n$ whittle ports\nwhittle: none\n```\n\n```sh\nwhittle demo\n```\n";
    let found: Vec<_> = commands(page)
        .into_iter()
        .map(|command| (command.line, command.shown, command.text))
        .collect();
    let expected = [
        (1, Shown::Named, "whittle info MODEL"),
        (1, Shown::Named, "whittle models"),
        (3, Shown::Told, "whittle boards  # all"),
        (6, Shown::Run, "whittle ports"),
        (11, Shown::Told, "whittle demo"),
    ]
    .map(|(line, shown, text)| (line, shown, text.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn words_are_split_as_a_shell_does() {
    let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text}");
    check("whittle chat  a.w", &["whittle", "chat", "a.w"]);
    check(
        "x --prompt \"It's on!\" # why",
        &["x", "--prompt", "It's on!"],
    );
    check("x --set '*=bits:3' ''", &["x", "--set", "*=bits:3", ""]);
    check("x a#b", &["x", "a#b"]);
}
