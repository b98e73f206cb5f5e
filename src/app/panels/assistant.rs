//! The assistant: what was said, who answered, how fast, and with which logits.

#[cfg(feature = "flash")]
use super::board_turn::board_turn_ui;
use super::sampling::sampling_ui;
use super::who::who_ui;
use super::{copy_ui, frame};
use crate::app::answerer::Answerer;
use crate::app::command::{Command, key};
use crate::app::jobs::JobKind;
#[cfg(feature = "voice")]
use crate::app::state::Listed;
use crate::app::state::State;
use crate::app::transcript::{Facts, Speaker, Utterance};
use crate::app::{theme, units};
use crate::packed::intent::AnswerParts;
use eframe::egui::{
    Align, Button, CentralPanel, Frame, Key, Layout, Panel, RichText, ScrollArea, TextEdit, Ui,
    vec2,
};
use engine::dialogue::Dialogue;
use std::path::Path;

/// Width of the column of names.
const NAMES: f32 = 64.0;

/// Width of the field of the system text.
const SYSTEM: f32 = 238.0;

/// Draws the assistant.
pub(in crate::app) fn assistant_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    Panel::bottom("assistant")
        .default_size(theme::ASSISTANT)
        .min_size(140.0)
        .resizable(true)
        .frame(frame())
        .show(ui, |ui| {
            Panel::top("assistant head")
                .frame(Frame::NONE)
                .show_separator_line(false)
                .show(ui, |ui| head_ui(ui, state, commands));
            Panel::bottom("assistant input")
                .frame(Frame::NONE)
                .show_separator_line(false)
                .show(ui, |ui| {
                    ui.add_space(6.0);
                    input_ui(ui, state, commands);
                });
            CentralPanel::no_frame().show(ui, |ui| {
                ui.add_space(6.0);
                transcript_ui(ui, state, commands);
            });
        });
}

fn head_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let has_model = state.loaded().is_some();
    ui.horizontal(|ui| {
        ui.label(theme::title("Assistant"));
        who_ui(ui, state, commands);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let new = ui.add_enabled(
                !state.view.transcript.is_empty(),
                Button::new("New conversation"),
            );
            if new
                .on_hover_text("Both candidates forget what was said")
                .clicked()
            {
                commands.push(Command::NewConversation);
            }
            #[cfg(feature = "voice")]
            talk_ui(ui, state, commands);
            let can_replay = has_model && state.last_said().is_some();
            let (name, whom) = match state.answerer() {
                Answerer::Candidate(_) => ("Replay through both", "A and then B"),
                #[cfg(feature = "flash")]
                Answerer::Board => ("Replay through all", "A, then B, then the board"),
            };
            let hint = format!(
                "Asks {whom} what was said last, each from an empty memory; speaks all answers while Talk is on ({})",
                key(ui.ctx(), &Command::Replay)
            );
            let replay = ui.add_enabled(can_replay, Button::new(name));
            if replay.on_hover_text(hint).clicked() {
                commands.push(Command::Replay);
            }
            if ui.available_width() > SYSTEM {
                let system = TextEdit::singleline(&mut state.project.system)
                    .hint_text("System text of a new conversation")
                    .desired_width(SYSTEM);
                ui.add(system).accessible_name("System text");
            }
        });
    });
}

/// The button that listens, and while it does the level of the microphone.
#[cfg(feature = "voice")]
fn talk_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    use crate::voice::VoiceState;
    let missing = &state.view.missing_voice;
    let fetch = format!("Fetch voice, {}", units::bytes(bytes(missing)));
    let (text, hint) = match state.view.talking.map(|talking| talking.state) {
        None if missing.is_empty() => (
            "Talk",
            "Answers what it hears from the microphone through the loudspeaker",
        ),
        None => (
            fetch.as_str(),
            "Fetches the models that hear and speak, then answers what it hears from the microphone",
        ),
        Some(VoiceState::Listening) => ("Listening…", "Say something; click to stop listening"),
        Some(VoiceState::Hearing) => ("Hearing you…", "Click to stop listening"),
        Some(VoiceState::Recognizing) => ("Recognizing…", "Click to stop listening"),
        Some(VoiceState::Answering) => ("Answering…", "Click to stop listening"),
    };
    let is_ready = state.loaded().is_some() && state.jobs.may_start(JobKind::Voices);
    let button = Button::new(text).selected(state.view.talking.is_some());
    let button = ui.add_enabled(is_ready, button).on_hover_text(hint);
    if button.clicked() {
        commands.push(Command::Talk);
    }
    if let Some(talking) = state.view.talking {
        let (place, _) = ui.allocate_exact_size(vec2(48.0, 6.0), eframe::egui::Sense::hover());
        let mut level = place;
        level.set_width(place.width() * talking.input_level.clamp(0.0, 1.0));
        ui.painter().rect_filled(place, 2.0, theme::LINE);
        ui.painter()
            .rect_filled(level, 2.0, theme::answerer(state.answerer()));
    }
}

/// Bytes of all.
#[cfg(feature = "voice")]
fn bytes(models: &[Listed]) -> u64 {
    models.iter().map(|model| model.bytes).sum()
}

fn input_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let is_answering = state.is_answering() || !state.view.asks.is_empty();
    let has_model = state.loaded().is_some();
    ui.horizontal(|ui| {
        sampling_ui(ui, &mut state.project.sampling, commands);
        let buttons = 84.0;
        let width = ui.available_width() - buttons - ui.spacing().item_spacing.x;
        let field = TextEdit::singleline(&mut state.view.prompt)
            .hint_text("Say something to the assistant")
            .margin(vec2(8.0, 5.0))
            .desired_width(width);
        let field = ui.add_enabled(has_model, field).accessible_name("Prompt");
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let size = vec2(buttons, field.rect.height());
        let clicked = if is_answering {
            if ui.add(Button::new("Stop").min_size(size)).clicked() {
                commands.push(Command::Stop);
            }
            false
        } else {
            let ready = has_model && !state.view.prompt.trim().is_empty();
            ui.add_enabled(ready, Button::new("Ask").min_size(size))
                .clicked()
        };
        if (entered && !is_answering) || clicked {
            commands.push(Command::Ask);
            field.request_focus();
        }
    });
}

fn transcript_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    ScrollArea::vertical()
        .auto_shrink(false)
        .stick_to_bottom(true)
        .show(ui, |ui| {
            if state.view.transcript.is_empty() {
                ui.label(theme::weak(
                    "What you ask is answered by who stands above, while you tune",
                ));
                beginning_ui(ui, state, commands);
            }
            for utterance in &state.view.transcript {
                utterance_ui(ui, utterance);
            }
            if let Some(ask) = state.view.asks.front() {
                let name = ask.answerer.name();
                ui.label(theme::weak(format!("{name} answers next…")));
            }
        });
}

/// Before anything was said: what may be asked, what is missing, and what else could answer.
fn beginning_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let Some(loaded) = state.loaded() else { return };
    match loaded.model.dialogue {
        Dialogue::Conversation => {}
        Dialogue::Commands => {
            ui.label(theme::weak(
                "It takes commands, each on its own: “turn on the kitchen light”",
            ));
        }
    }
    #[cfg(feature = "voice")]
    if !state.view.missing_voice.is_empty() {
        let missing = state.view.missing_voice.iter();
        let names = missing.map(|m| format!("{}, {}", m.title, units::bytes(m.bytes)));
        let names = names.collect::<Vec<_>>().join("; ");
        ui.label(theme::weak(format!("In writing only: voice needs {names}")));
    }
    let can_fetch = state.jobs.may_start(JobKind::Fetch);
    ui.horizontal_wrapped(|ui| {
        ui.label(theme::weak("Other models"));
        let others = state.view.listed.iter();
        for model in others.filter(|model| loaded.spec != Path::new(&model.name)) {
            let (text, command) = if model.installed {
                let text = format!("Open {}", model.title);
                (text, Command::Open(model.name.clone().into()))
            } else {
                let text = format!("Fetch {}, {}", model.title, units::bytes(model.bytes));
                (text, Command::Fetch(model.name.clone()))
            };
            let button = ui.add_enabled(can_fetch, Button::new(text).small());
            if button.clicked() {
                commands.push(command);
            }
        }
    });
}

fn utterance_ui(ui: &mut Ui, utterance: &Utterance) {
    let (name, color) = match utterance.speaker {
        Speaker::Person => ("You".to_owned(), theme::WEAK),
        Speaker::Model(answerer) => (answerer.name().to_owned(), theme::answerer(answerer)),
    };
    ui.horizontal_top(|ui| {
        ui.allocate_ui(vec2(NAMES, 18.0), |ui| {
            ui.set_min_width(NAMES);
            ui.label(RichText::new(name).strong().color(color));
        });
        ui.vertical(|ui| {
            let parts = match utterance.speaker {
                Speaker::Model(_) => AnswerParts::of(&utterance.text),
                Speaker::Person => AnswerParts {
                    line: None,
                    reply: &utterance.text,
                },
            };
            if let Some(line) = parts.line {
                ui.label(theme::mono(line).color(theme::WEAK))
                    .on_hover_text("The intent and its slots: what is to be done; not spoken");
            }
            let reply = parts.reply.trim();
            if utterance.text.is_empty() {
                ui.label(theme::weak("…"));
            } else if !reply.is_empty() || parts.line.is_none() {
                ui.label(reply);
            }
            match utterance.speaker {
                Speaker::Person => {}
                Speaker::Model(_) => under_ui(ui, utterance),
            }
        });
    });
    ui.add_space(2.0);
}

/// Under an answer: how it came about, and what may be taken elsewhere.
fn under_ui(ui: &mut Ui, answer: &Utterance) {
    #[cfg(feature = "flash")]
    if let Some(facts) = &answer.board {
        ui.horizontal_top(|ui| {
            copy_ui(ui, "Copy the answer", answer.text.trim());
            let hash = format!("{:016x}", facts.turn.answer.logits_hash.0);
            copy_ui(ui, "Copy the hash", &hash);
            ui.vertical(|ui| board_turn_ui(ui, facts));
        });
        return;
    }
    ui.horizontal(|ui| {
        let text = answer.text.trim();
        if !text.is_empty() {
            copy_ui(ui, "Copy the answer", text);
        }
        if let Some(facts) = &answer.facts {
            copy_ui(ui, "Copy the hash", &facts.hash());
            facts_ui(ui, facts);
        }
    });
}

fn facts_ui(ui: &mut Ui, facts: &Facts) {
    let text = format!(
        "logits {} · {} tokens · {} tokens/s · first token after {} s",
        facts.hash(),
        facts.tokens,
        units::short(facts.tokens_per_second),
        units::short(facts.first_token_seconds),
    );
    ui.label(
        RichText::new(text)
            .monospace()
            .size(11.0)
            .color(theme::WEAK),
    )
    .on_hover_text(
        "On this computer. The hash covers the logits of every step: a board that runs the \
         same packed model computes the same",
    );
}
