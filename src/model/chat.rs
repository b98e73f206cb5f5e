//! How a conversation is written out for a model: its chat template, and the pieces of text that
//! the template puts around what people say.
//!
//! Templates are Jinja programs inside the model file. They are rendered with minijinja, set up as
//! Hugging Face's `apply_chat_template` sets up Jinja, and with a bound on their work.

use super::ModelError;
use super::tokenizer::Tokenizer;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

/// Steps that a template may take: thousands of times what a long conversation needs.
const FUEL: u64 = 20_000_000;
/// Longest template in bytes; the longest known have 20 kB.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// What a model without a template gets: names and texts on lines of their own, as in a transcript.
/// Nothing marks the end of a turn, so such a model may go on to speak for the user.
const PLAIN_TEMPLATE: &str = "\
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{{ message.content + '\\n\\n' }}
{%- elif message.role == 'user' -%}
{{ 'User:\\n' + message.content + '\\n' }}
{%- else -%}
{{ 'Assistant:\\n' + message.content + '\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'Assistant:\\n' }}{%- endif -%}";

/// One message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// What was said.
    pub content: &'a str,
}

/// Whether the text ends where the assistant is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// It ends with the opening of the assistant's turn.
    Prompt,
    /// It ends with the last message.
    None,
}

/// Where a model's template comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateSource {
    /// From the model itself.
    Model,
    /// Whittle's plain format, because the model has none: the system text and an empty line, then
    /// `User:` or `Assistant:` on a line before each text.
    Plain,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    /// Whether it is the model's own.
    pub source: TemplateSource,
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// The text around what people say: all that a program without Jinja needs for a conversation.
///
/// A first turn is `first_user_open + user + user_close + assistant`, or with a system text
/// `system_open + system + system_close + user + user_close + assistant`; each further turn is
/// `assistant_close + user + user_close + assistant`. Written as special tokens
/// ([`Specials::Parse`](super::Specials::Parse)); what people say is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatPieces {
    /// Before the user's text when no system text is given; a default one may be inside.
    pub first_user_open: String,
    /// Before the system text; none when the template takes none.
    pub system_open: Option<String>,
    /// From the end of the system text to the user's.
    pub system_close: Option<String>,
    /// From the end of the user's text to where the assistant starts.
    pub user_close: String,
    /// From the end of the assistant's text to the next user's.
    pub assistant_close: String,
}

impl ChatTemplate {
    /// Parses a template, or takes the plain format when there is none.
    pub(super) fn new(template: Option<&str>, tokenizer: &Tokenizer) -> Result<Self, ModelError> {
        let name = |token: Option<u32>| {
            token.map_or_else(String::new, |token| {
                String::from_utf8_lossy(tokenizer.token_bytes(token)).into_owned()
            })
        };
        Self::with_tokens(template, name(tokenizer.bos), name(tokenizer.declared_eos))
    }

    fn with_tokens(template: Option<&str>, bos: String, eos: String) -> Result<Self, ModelError> {
        let (source, template) = match template {
            Some(template) => (TemplateSource::Model, template),
            None => (TemplateSource::Plain, PLAIN_TEMPLATE),
        };
        if template.len() > MAX_TEMPLATE_BYTES {
            return Err(ModelError::Chat(format!(
                "expected up to {MAX_TEMPLATE_BYTES} bytes, found {}",
                template.len()
            )));
        }
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        let syntax = syntax.map_err(|error| ModelError::Chat(sentence(&error)))?;
        let mut environment = Environment::new();
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |text: String| {
            Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, text))
        });
        environment.add_function("strftime_now", |format: String| fixed_date(&format));
        environment
            .add_template_owned(TEMPLATE, template.to_owned())
            .map_err(|error| ModelError::Chat(sentence(&error)))?;
        Ok(Self {
            source,
            environment,
            bos,
            eos,
        })
    }

    /// The model's own template; nothing for one that has none.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self.source {
            TemplateSource::Model => {
                let template = self.environment.templates().next();
                template.map(|(_, template)| template.source().to_owned())
            }
            TemplateSource::Plain => None,
        }
    }

    /// Writes a conversation out.
    ///
    /// # Errors
    /// When the template refuses the conversation or cannot be rendered.
    pub fn render(
        &self,
        messages: &[Message<'_>],
        generation: Generation,
    ) -> Result<String, ModelError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|m| context! { role => m.role, content => m.content })
            .collect();
        self.environment
            .get_template(TEMPLATE)
            .and_then(|template| {
                template.render(context! {
                    messages => messages,
                    bos_token => self.bos.as_str(),
                    eos_token => self.eos.as_str(),
                    add_generation_prompt => generation == Generation::Prompt,
                })
            })
            .map_err(|error| ModelError::Chat(sentence(&error)))
    }

    /// The text around what people say, found by rendering conversations of marked messages.
    ///
    /// # Errors
    /// When the template cannot be rendered, or does not show the messages in their order.
    pub fn pieces(&self) -> Result<ChatPieces, ModelError> {
        let first = self.around(&[("user", "Umark")], Generation::Prompt)?;
        let [first_user_open, user_close] = exactly(first)?;
        // A template that raises here, or drops the text, takes no system message.
        let system = self
            .around(
                &[("system", "Smark"), ("user", "Umark")],
                Generation::Prompt,
            )
            .and_then(exactly);
        let (system_open, system_close) = match system {
            Ok([open, close, end]) if end == user_close => (Some(open), Some(close)),
            Ok(_) | Err(_) => (None, None),
        };
        let turns = [("user", "Umark"), ("assistant", "Amark"), ("user", "Vmark")];
        let [_, _, assistant_close, _] = exactly(self.around(&turns, Generation::Prompt)?)?;
        Ok(ChatPieces {
            first_user_open,
            system_open,
            system_close,
            user_close,
            assistant_close,
        })
    }

    /// The text before, between and after the messages `(role, mark)`.
    fn around(
        &self,
        marked: &[(&str, &str)],
        generation: Generation,
    ) -> Result<Vec<String>, ModelError> {
        let messages: Vec<Message<'_>> = marked
            .iter()
            .map(|&(role, content)| Message { role, content })
            .collect();
        let text = self.render(&messages, generation)?;
        let mut rest = text.as_str();
        let mut pieces = Vec::new();
        for (role, mark) in marked {
            let (before, after) = rest.split_once(mark).ok_or_else(|| {
                ModelError::Chat(format!("the {role} message is not in the text it renders"))
            })?;
            pieces.push(before.to_owned());
            rest = after;
        }
        pieces.push(rest.to_owned());
        Ok(pieces)
    }
}

const TEMPLATE: &str = "chat";

fn exactly<const N: usize>(pieces: Vec<String>) -> Result<[String; N], ModelError> {
    pieces.try_into().map_err(|pieces: Vec<String>| {
        ModelError::Chat(format!("expected {N} pieces, found {}", pieces.len()))
    })
}

/// An error of minijinja with its line, in one line.
fn sentence(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The date that templates get as today: 26 July 2024, which Llama 3.2's template itself falls back
/// to. A board has no clock, and the same model must pack to the same bytes on every day.
fn fixed_date(format: &str) -> Result<String, minijinja::Error> {
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        text.push_str(match chars.next() {
            Some('d' | 'e') => "26",
            Some('m') => "07",
            Some('b') => "Jul",
            Some('B') => "July",
            Some('y') => "24",
            Some('Y') => "2024",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'M' | 'S') => "00",
            Some('F') => "2024-07-26",
            Some('%') => "%",
            other => {
                let found = other.map_or_else(|| "nothing".to_owned(), |c| format!("%{c}"));
                return Err(minijinja::Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now: expected a date directive, found {found}"),
                ));
            }
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> ChatTemplate {
        ChatTemplate::with_tokens(Some(text), "<s>".to_owned(), "</s>".to_owned()).unwrap()
    }

    const SMOLLM2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn smollm2_pieces_hold_the_default_system_prompt() {
        let pieces = template(SMOLLM2).pieces().unwrap();
        assert_eq!(
            pieces,
            ChatPieces {
                first_user_open: "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n".to_owned(),
                system_open: Some("<|im_start|>system\n".to_owned()),
                system_close: Some("<|im_end|>\n<|im_start|>user\n".to_owned()),
                user_close: "<|im_end|>\n<|im_start|>assistant\n".to_owned(),
                assistant_close: "<|im_end|>\n<|im_start|>user\n".to_owned(),
            }
        );
    }

    /// TinyLlama's, with the line breaks that `trim_blocks` takes away.
    const ZEPHYR: &str = "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}";

    #[test]
    fn blocks_take_their_line_break_with_them() {
        let chat = template(ZEPHYR);
        let messages = [Message {
            role: "user",
            content: "Hi",
        }];
        assert_eq!(
            chat.render(&messages, Generation::Prompt).unwrap(),
            "<|user|>\nHi</s>\n<|assistant|>\n"
        );
        assert_eq!(
            chat.render(&messages, Generation::None).unwrap(),
            "<|user|>\nHi</s>\n"
        );
        assert_eq!(
            chat.pieces().unwrap().system_close.as_deref(),
            Some("</s>\n<|user|>\n")
        );
    }

    #[test]
    fn a_template_that_refuses_system_messages_has_no_system_pieces() {
        let chat = template(
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}<{{ m.role }}>{{ m.content.strip() }}</>{% endfor %}{% if add_generation_prompt %}<model>{% endif %}",
        );
        let refusal = chat.render(
            &[Message {
                role: "system",
                content: "x",
            }],
            Generation::None,
        );
        assert!(
            refusal
                .unwrap_err()
                .to_string()
                .contains("System role not supported")
        );
        let pieces = chat.pieces().unwrap();
        assert_eq!(pieces.system_open, None);
        assert_eq!(pieces.first_user_open, "<s><user>");
        assert_eq!(pieces.user_close, "</><model>");
        assert_eq!(pieces.assistant_close, "</><user>");
    }

    #[test]
    fn pieces_put_together_are_what_the_template_renders() {
        for text in [SMOLLM2, ZEPHYR, PLAIN_TEMPLATE] {
            let chat = template(text);
            let p = chat.pieces().unwrap();
            let say = |role, content| Message { role, content };
            let turns = [say("user", "a"), say("assistant", "b"), say("user", "c")];
            assert_eq!(
                chat.render(&turns, Generation::Prompt).unwrap(),
                [
                    &p.first_user_open,
                    "a",
                    &p.user_close,
                    "b",
                    &p.assistant_close,
                    "c",
                    &p.user_close
                ]
                .concat(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_model_without_a_template_talks_in_plain_lines() {
        let chat = ChatTemplate::with_tokens(None, String::new(), String::new()).unwrap();
        assert_eq!(chat.source, TemplateSource::Plain);
        let pieces = chat.pieces().unwrap();
        assert_eq!(pieces.first_user_open, "User:\n");
        assert_eq!(pieces.system_close.as_deref(), Some("\n\nUser:\n"));
        assert_eq!(pieces.user_close, "\nAssistant:\n");
        assert_eq!(pieces.assistant_close, "\nUser:\n");
    }

    #[test]
    fn today_is_the_same_day_everywhere() {
        let chat = template("{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A') }}");
        assert_eq!(
            chat.render(&[], Generation::None).unwrap(),
            "26 Jul 2024|Friday"
        );
        assert!(
            template("{{ strftime_now('%Q') }}")
                .render(&[], Generation::None)
                .is_err()
        );
    }

    #[test]
    fn a_template_cannot_run_forever() {
        let chat = template(
            "{% for a in range(90000) %}{% for b in range(90000) %}{{ '' }}{% endfor %}{% endfor %}",
        );
        let stopped = chat.render(&[], Generation::None).unwrap_err().to_string();
        assert!(stopped.contains("fuel"), "{stopped}");
    }

    #[test]
    fn a_broken_template_is_refused_with_its_line() {
        let error = ChatTemplate::with_tokens(Some("a\n{% if %}"), String::new(), String::new());
        assert!(error.unwrap_err().to_string().contains(":2"));
    }
}
