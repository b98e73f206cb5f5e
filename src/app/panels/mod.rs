//! The parts of the screen: each draws what the state says, edits the project in place and pushes
//! commands for the rest.

pub(super) mod assistant;
#[cfg(feature = "flash")]
mod board_turn;
pub(super) mod boards;
pub(super) mod compare;
mod errors;
pub(super) mod export;
#[cfg(feature = "flash")]
pub(super) mod flash;
pub(super) mod keeping;
pub(super) mod layers;
mod number;
#[cfg(feature = "flash")]
mod on_board;
pub(super) mod open;
pub(super) mod opening;
pub(super) mod rewrite;
mod sampling;
pub(super) mod status;
mod tasks;
pub(super) mod top;
pub(super) mod tune;
pub(super) mod verify;
mod who;

use super::command::Command;
use super::dialogs::Purpose;
use super::path_field::PathField;
use super::theme;
use eframe::egui::{
    Align, Button, Context, Frame, Id, Layout, Margin, Modal, Response, RichText, Stroke, TextEdit,
    Ui, vec2,
};

/// The frame of a panel.
fn frame() -> Frame {
    Frame::new()
        .fill(theme::PANEL)
        .inner_margin(Margin::symmetric(12, 8))
        .stroke(Stroke::NONE)
}

/// A dialog over the window.
fn modal(ctx: &Context, name: &str) -> Modal {
    let frame = Frame::popup(&ctx.global_style()).inner_margin(Margin::same(18));
    Modal::new(Id::unique(name)).frame(frame)
}

/// Text at the right end of a cell of this width.
fn right_ui(ui: &mut Ui, width: f32, text: RichText) -> Response {
    let size = vec2(width, ui.spacing().interact_size.y);
    let layout = Layout::right_to_left(Align::Center);
    ui.allocate_ui_with_layout(size, layout, |ui| {
        ui.set_min_width(width);
        ui.label(text)
    })
    .inner
}

/// Text at the right end of the cell that `ui` is.
fn end_ui(ui: &mut Ui, text: RichText) -> Response {
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text))
        .inner
}

/// A small button that copies `text`; `name` says what it is the text of.
fn copy_ui(ui: &mut Ui, name: &str, text: &str) {
    let button = ui.add(Button::new("Copy").small());
    let button = button.on_hover_text(name).accessible_name(name);
    if button.clicked() {
        ui.copy_text(text.to_owned());
    }
}

/// A path field with its Browse… button.
fn path_ui(
    ui: &mut Ui,
    path: &mut PathField,
    name: &str,
    purpose: Purpose,
    commands: &mut Vec<Command>,
) {
    ui.horizontal(|ui| {
        let field = TextEdit::singleline(&mut path.text)
            .hint_text(name)
            .desired_width(ui.available_width() - 90.0);
        ui.add(field).accessible_name(name);
        let browse = ui
            .button("Browse…")
            .accessible_name(format!("Browse for {name}"));
        if browse.clicked() {
            commands.push(Command::Choose(purpose));
        }
    });
}

/// The field of a file to write, by its name and the verb of its button; returns whether it shall be written.
fn output_ui(
    ui: &mut Ui,
    field: &mut PathField,
    (name, verb): (&str, &str),
    purpose: Purpose,
    commands: &mut Vec<Command>,
) -> bool {
    ui.horizontal(|ui| {
        let edit = TextEdit::singleline(&mut field.text)
            .hint_text("Path")
            .desired_width(ui.available_width() - 152.0);
        ui.add(edit).accessible_name(name);
        let write = ui
            .add_enabled(!field.is_empty(), Button::new(verb))
            .accessible_name(format!("{verb} to path"));
        let browse = ui
            .button("Browse…")
            .accessible_name(format!("Browse for {name}"));
        if browse.clicked() {
            commands.push(Command::Choose(purpose));
        }
        write.clicked()
    })
    .inner
}
