//! What the window does with the board on the chosen port: write it, let it answer, let it measure itself.

use super::answerer::Answerer;
use super::board_work::{self, AfterPlan, BoardOrder, FlashOrder, Wanted};
use super::jobs::{Ended, JobKind};
use super::running::Failure;
use super::state::Popup;
use super::studio::Studio;
use super::transcript::{Ask, BoardFacts, Speaker};
use super::units;
use crate::board::Board;
use crate::catalog::Cache;
use crate::job::Job;
use crate::link::{BoardQuestion, Deployed, ports};
use eframe::egui::Context;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

impl Studio {
    pub(super) fn list_ports(&mut self, ctx: &Context) {
        let list = |_: &Job<'_>| Ok(Ended::Ports(ports()?));
        let jobs = &mut self.state.jobs;
        jobs.start(JobKind::ListPorts, "List ports", ctx, list);
    }

    pub(super) fn flash(&mut self, then: AfterPlan, ctx: &Context) {
        let Some((loaded, recipe, ready)) = self.candidate(self.state.view.active) else {
            return;
        };
        if !self.state.jobs.may_start(JobKind::Flash) {
            return;
        }
        let project = &self.state.project;
        let board = match Board::find(&project.board) {
            Some(board) if self.state.view.is_board_chosen => Wanted::Chosen(board),
            Some(_) | None => Wanted::Answering,
        };
        let port = self.state.view.port.trim().to_owned();
        let (title, backup) = match then {
            AfterPlan::Write => (format!("Flash the board on {port}"), self.backup(&port)),
            AfterPlan::Leave => (format!("Look at the board on {port}"), None),
        };
        let order = FlashOrder {
            board,
            firmware: project.firmware.clone(),
            port,
            shown: Arc::clone(&self.state.view.flash_plan),
            then,
            backup: backup.clone(),
        };
        let (cache, processor) = (project.cache, Arc::clone(&self.processor));
        let view = &mut self.state.view;
        view.flashed = None;
        *view
            .flash_plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.state
            .jobs
            .start(JobKind::Flash, title, ctx, move |job| {
                let run = (cache, &*processor);
                let (board, flashed) =
                    board_work::flash(&loaded, &recipe, &ready, run, &order, job)?;
                Ok(Ended::Flashed(board, flashed.map(Box::new), backup))
            });
    }

    /// Sends the active candidate's model to the firmware that runs on the board.
    pub(super) fn send_model(&mut self, ctx: &Context) {
        let Some((loaded, recipe, ready)) = self.candidate(self.state.view.active) else {
            return;
        };
        let Some(board) = Board::find(&self.state.project.board) else {
            return;
        };
        let (cache, processor) = (self.state.project.cache, Arc::clone(&self.processor));
        self.change_model("Send the model to the board", ctx, move |port, job| {
            let run = (cache, &*processor);
            board_work::send_model((&loaded, &recipe), &ready, run, (board, port), job)
        });
    }

    /// Has the firmware on the board erase its model.
    pub(super) fn erase_model(&mut self, ctx: &Context) {
        let title = "Erase the model of the board";
        self.change_model(title, ctx, board_work::erase_model);
    }

    fn change_model(
        &mut self,
        title: &str,
        ctx: &Context,
        work: impl FnOnce(&str, &Job<'_>) -> Result<String, Failure> + Send + 'static,
    ) {
        if !self.state.jobs.may_start(JobKind::Flash) {
            return;
        }
        let port = self.state.view.port.trim().to_owned();
        self.state.view.flashed = None;
        let title = format!("{title} on {port}");
        self.state
            .jobs
            .start(JobKind::Flash, title, ctx, move |job| {
                Ok(Ended::ModelChanged(work(&port, job)?))
            });
    }

    /// Where the old flash is kept, if it is.
    fn backup(&self, port: &str) -> Option<PathBuf> {
        if !self.state.view.is_backed_up {
            return None;
        }
        let folder = Cache::if_any().ok()??.boards();
        let plain = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        };
        let name: String = port.chars().map(plain).collect();
        Some(folder.join(format!("{name}-backup.bin")))
    }

    /// A board was written, or looked at.
    pub(super) fn on_flashed(
        &mut self,
        board: &Board,
        deployed: Option<Deployed>,
        backup: Option<PathBuf>,
    ) {
        if self.state.project.board != board.id {
            let name = &board.name;
            self.state.inform(format!(
                "The chip that answers is an {}: {name} is selected",
                board.chip
            ));
            self.state.project.board.clone_from(&board.id);
        }
        let Some(deployed) = deployed else {
            // What was asked for is shown already.
            return;
        };
        if let Some(path) = backup {
            let text = format!("The old flash is kept in {}", path.display());
            self.state.inform(text);
        }
        let (chip, verified) = (
            &deployed.flashed.chip,
            units::bytes(deployed.flashed.verified_bytes),
        );
        let written = format!("{chip}: {verified} written and verified");
        match (&deployed.proof, &deployed.unproven) {
            (Some(proof), _) => {
                self.state.inform(format!(
                    "Flashed {written}; the board answers as here, logits {}",
                    proof.self_test
                ));
                if let Some(port) = &proof.moved_to {
                    self.state.inform(format!("The board's port is now {port}"));
                    self.state.view.port.clone_from(port);
                }
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or("nobody asked whether it runs");
                self.state.fail(format!("{written}; but {why}"));
            }
        }
        self.state.view.flashed = Some(deployed);
    }

    /// From now on the board on this port answers.
    pub(super) fn seat_board(&mut self, port: String, ctx: &Context) {
        let view = &mut self.state.view;
        view.port = port;
        view.is_board_asked = true;
        if view.popup == Popup::Flash {
            self.show(Popup::Closed, ctx);
        }
    }

    /// Lets the board on the chosen port answer.
    pub(super) fn answer_by_board(&mut self, ask: Ask, ctx: &Context) {
        let Some(loaded) = self.state.loaded().cloned() else {
            return;
        };
        let port = self.state.view.port.trim().to_owned();
        let title = format!("The board on {port} answers");
        let active = self.state.view.active;
        let candidates = [active, active.other()].into_iter();
        let candidates = candidates.filter_map(|candidate| {
            let (_, recipe, ready) = self.candidate(candidate)?;
            Some((candidate, recipe, ready))
        });
        let order = BoardOrder {
            port,
            prompt: ask.text,
            sampling: self.state.project.sampling.sampling(),
            boards: self.boards(),
            candidates: candidates.collect(),
        };
        let (cache, processor) = (self.state.project.cache, Arc::clone(&self.processor));
        let pieces = self.begin_answer(Answerer::Board, ask.aloud, ctx);
        self.state
            .jobs
            .start(JobKind::BoardAnswer, title, ctx, move |job| {
                let facts = board_work::answer(&loaded, (cache, &processor), &order, pieces, job)?;
                Ok(Ended::BoardAnswered(Box::new(facts)))
            });
    }

    /// The boards that one on a port may be, the chosen one first.
    fn boards(&self) -> Vec<Board> {
        let chosen = &self.state.project.board;
        let mut boards = self.state.derived.boards.to_vec();
        boards.sort_by_key(|board| board.id != *chosen);
        boards
    }

    pub(super) fn on_board_answer(&mut self, facts: Box<BoardFacts>) {
        let said = self.state.view.transcript.last_mut();
        // In a new conversation the answer belongs to none.
        if let Some(said) = said.filter(|u| u.speaker == Speaker::Model(Answerer::Board)) {
            said.text.clone_from(&facts.turn.answer.text);
            said.board = Some(facts);
        }
    }

    /// The board has not answered to the end: what waits for it would fare no better.
    pub(super) fn on_no_board_answer(&mut self) {
        let view = &mut self.state.view;
        view.asks.retain(|ask| ask.answerer != Answerer::Board);
        let is_empty = view.transcript.last().is_some_and(|last| {
            last.speaker == Speaker::Model(Answerer::Board) && last.text.is_empty()
        });
        if is_empty {
            view.transcript.pop();
        }
    }

    /// Lets the board on the chosen port measure itself, on what was said last.
    pub(super) fn measure_board(&mut self, ctx: &Context) {
        let Some((loaded, recipe, ready)) = self.candidate(self.state.view.active) else {
            return;
        };
        if !self.state.jobs.may_start(JobKind::MeasureBoard) {
            return;
        }
        let port = self.state.view.port.trim().to_owned();
        let title = format!("The board on {port} measures itself");
        let said = self.state.last_said();
        let prompt = said.unwrap_or(BoardQuestion::self_test().prompt).to_owned();
        let (cache, processor) = (self.state.project.cache, Arc::clone(&self.processor));
        let reports = self.reports.clone();
        self.state.view.board_report = None;
        self.state
            .jobs
            .start(JobKind::MeasureBoard, title, ctx, move |job| {
                let run = (cache, &*processor);
                let (model, asked) = ((&*loaded, &recipe), (port.as_str(), prompt.as_str()));
                let reports = reports.as_deref();
                let report = board_work::measure_board(model, &ready, run, asked, reports, job)?;
                Ok(Ended::BoardMeasured(Box::new(report)))
            });
    }
}
