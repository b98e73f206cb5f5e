//! Separates Rust code from its comments and the insides of its strings; every line keeps its number.

/// The two readings of a source text; both have as many lines as it.
pub struct Split {
    /// The text with comments and the insides of literals blanked.
    pub code: String,
    /// The text with everything but comments blanked.
    pub comments: String,
}

/// Splits `text`; an unfinished literal or comment ends with the text.
pub fn split(text: &str) -> Split {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        code: String::new(),
        comments: String::new(),
    };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    Split {
        code: lexer.code,
        comments: lexer.comments,
    }
}

enum Part {
    Code,
    Comment,
    Literal,
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self, part: &Part) {
        let c = self.peek(0);
        self.at += 1;
        let blank = if c == '\n' { '\n' } else { ' ' };
        let (code, comment) = match part {
            Part::Code => (c, blank),
            Part::Comment => (blank, c),
            Part::Literal => (blank, blank),
        };
        self.code.push(code);
        self.comments.push(comment);
    }

    fn take_until(&mut self, part: &Part, end: impl Fn(&Self) -> bool) {
        while self.at < self.chars.len() && !end(self) {
            self.take(part);
        }
    }

    fn step(&mut self) {
        let word = self.at > 0 && is_word(self.chars[self.at - 1]);
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.take_until(&Part::Comment, |s| s.peek(0) == '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('r', '"' | '#') if !word => self.raw_string(),
            ('b' | 'c', 'r') if !word && matches!(self.peek(2), '"' | '#') => {
                self.take(&Part::Code);
                self.raw_string();
            }
            ('\'', _) => self.character_or_lifetime(),
            _ => self.take(&Part::Code),
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.take(&Part::Comment);
                    continue;
                }
            }
            self.take(&Part::Comment);
            self.take(&Part::Comment);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(&Part::Code);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.take(&Part::Literal);
            }
            if self.at < self.chars.len() {
                self.take(&Part::Literal);
            }
        }
        if self.at < self.chars.len() {
            self.take(&Part::Code);
        }
    }

    fn raw_string(&mut self) {
        let hashes = self.chars[self.at + 1..]
            .iter()
            .take_while(|c| **c == '#')
            .count();
        if self.peek(1 + hashes) != '"' {
            // `r#type`: a raw identifier.
            return self.take(&Part::Code);
        }
        for _ in 0..hashes + 2 {
            self.take(&Part::Code);
        }
        self.take_until(&Part::Literal, |s| {
            s.peek(0) == '"' && (1..=hashes).all(|ahead| s.peek(ahead) == '#')
        });
        for _ in 0..(hashes + 1).min(self.chars.len() - self.at) {
            self.take(&Part::Code);
        }
    }

    fn character_or_lifetime(&mut self) {
        self.take(&Part::Code);
        if self.peek(0) == '\\' {
            self.take(&Part::Literal);
            self.take(&Part::Literal);
            self.take_until(&Part::Literal, |s| s.peek(0) == '\'' || s.peek(0) == '\n');
            self.take(&Part::Code);
        } else if self.peek(1) == '\'' {
            self.take(&Part::Literal);
            self.take(&Part::Code);
        }
    }
}

/// Whether `c` may stand in a name.
pub fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let check = |text: &str, code: &str, comments: &str| {
        let split = split(text);
        assert_eq!(split.code.trim_end(), code, "code of {text:?}");
        assert_eq!(split.comments.trim(), comments, "comments of {text:?}");
        assert_eq!(split.code.lines().count(), text.lines().count());
    };
    check("a // b\nc", "a     \nc", "// b");
    check(
        "a /* b /* c */ d */ e",
        "a                   e",
        "/* b /* c */ d */",
    );
    check("f(\"// x\")", "f(\"    \")", "");
    check(r#"f("\"// x")"#, "f(\"      \")", "");
    check("r#\"a \"b\" // c\"# + d", "r#\"          \"# + d", "");
    check("br\"//\" d", "br\"  \" d", "");
    check("r#type // x", "r#type", "// x");
    check("'\"' // x", "' '", "// x");
    check("'\\'' // x", "'  '", "// x");
    check("&'a str // x", "&'a str", "// x");
    check("\"open // x", "\"", "");
}
