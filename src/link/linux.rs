//! What a board that runs Linux is given: the program, the packed model, how to copy and start them.
//!
//! Nothing is written to such a board from here: it has its own ways in, and its own accounts.

use super::{Delivery, Firmware, FirmwareOrigin, ImageError, elf, image::require_format, prebuilt};
use crate::board::{Board, FlashMethod};
use crate::packed::{PackedModel, bill};
use crate::whole_file::WholeFolder;
use std::io::{self, Write};
use std::path::Path;

/// What the program is called in the folder.
const PROGRAM: &str = "whittle-linux";
/// The packed model.
const MODEL: &str = "model.whittle";
/// The service that starts them.
const SERVICE: &str = "whittle.service";
/// How to copy and start them.
const PAGE: &str = "README.md";
/// Where the program listens, on the board and through ssh here.
const PORT: u16 = 7433;

/// Everything that a board needs which runs Linux.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    /// The board.
    pub board: &'a Board,
    /// A static program for it.
    pub program: &'a [u8],
    /// The packed model.
    pub model: &'a PackedModel,
    /// Its licences and its software bill.
    delivery: Delivery<'a>,
    /// What the program says of its engine.
    pub firmware: Firmware,
}

impl<'a> Bundle<'a> {
    /// Puts `model` beside a program of one's own, or beside the one that comes along; `None` where the board runs no
    /// Linux.
    ///
    /// # Errors
    /// When there is no program for such a board, it is not one for its processor, it says that it cannot read the model, or
    /// the model does not say what it was made from.
    pub fn new(
        board: &'a Board,
        program: Option<&'a [u8]>,
        model: &'a PackedModel,
    ) -> Option<Result<Self, ImageError>> {
        (board.flash_method == FlashMethod::Linux).then(|| {
            let origin = match program {
                Some(_) => FirmwareOrigin::Own,
                None => FirmwareOrigin::Prebuilt,
            };
            let program = program.or_else(|| prebuilt(board)).unwrap_or_default();
            elf::check_linux(program, board.isa).map_err(ImageError::Firmware)?;
            let firmware = Firmware::of(program);
            require_format(&firmware, model.bytes())?;
            Ok(Self {
                board,
                program,
                model,
                delivery: Delivery::of_program(board, (PROGRAM, program), model, origin)?,
                firmware,
            })
        })
    }

    /// Name and bytes of each file, the page last.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Vec<u8>); 6] {
        [
            (PROGRAM, self.program.to_vec()),
            (MODEL, self.model.bytes().to_vec()),
            (SERVICE, service().into_bytes()),
            (bill::LICENCES, self.delivery.licences().into_bytes()),
            (bill::BILL, self.delivery.bill().into_bytes()),
            (PAGE, self.page().into_bytes()),
        ]
    }

    /// Writes the folder, whole or not at all; an earlier one of the kind is replaced.
    ///
    /// # Errors
    /// When something else is there, or nothing can be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        // Folders of before have neither licences nor a bill.
        let required = [PROGRAM, MODEL, SERVICE, PAGE];
        let mut whole = WholeFolder::create(folder, &required, &[bill::LICENCES, bill::BILL])?;
        for (name, bytes) in self.files() {
            let mut file = whole.file(name)?;
            file.write_all(&bytes)?;
            file.flush()?;
            #[cfg(unix)]
            if name == PROGRAM {
                use std::os::unix::fs::PermissionsExt as _;
                file.get_ref()
                    .set_permissions(std::fs::Permissions::from_mode(0o755))?;
            }
        }
        whole.finish()
    }

    /// How to copy and start them, as Markdown.
    fn page(&self) -> String {
        let board = &self.board.name;
        let (model_bytes, program_bytes) = (self.model.bytes().len(), self.program.len());
        let ram = self.board.psram.as_ref().map(|memory| memory.bytes.value);
        let large = ram.filter(|ram| *ram <= model_bytes as u64).map_or_else(
            String::new,
            |ram| {
                format!(
                    "\nThe model has {model_bytes} bytes and the board {ram} of memory: it will answer, and read most of \
                     the model from its card again for each token.\n"
                )
            },
        );
        format!(
            "# A model for a {board}\n\n\
             `{PROGRAM}` ({program_bytes} bytes) needs nothing beside it but a 64-bit Linux; `{MODEL}` ({model_bytes} \
             bytes) is mapped and checked whenever it starts. USER@BOARD is the board's account and name.\n{large}\n\
             ## Copy and start\n\n    \
             scp {PROGRAM} {MODEL} USER@BOARD:\n    \
             ssh USER@BOARD chmod +x {PROGRAM}\n    \
             ssh -L {PORT}:127.0.0.1:{PORT} USER@BOARD ./{PROGRAM} {MODEL} --listen 127.0.0.1:{PORT}\n\n\
             It says `ready` once every byte of the model has been checked. Then, on this computer:\n\n    \
             whittle chat {MODEL} --port tcp:127.0.0.1:{PORT} --prompt \"Turn on the kitchen light!\"\n\n\
             The port is the board's own: whoever is on the board may ask, and others come through ssh. One host or \
             person at a time; others are told so.\n\n\
             ## Over USB\n\n\
             A board that is a USB serial gadget (on a Raspberry Pi `dtoverlay=dwc2` in config.txt and \
             `modules-load=dwc2,g_serial` in cmdline.txt) is a serial port of the computer that it is plugged into:\n\n    \
             ./{PROGRAM} {MODEL} --serial /dev/ttyGS0\n\n\
             ## At every start\n\n\
             `{SERVICE}` starts both from /opt/whittle:\n\n    \
             scp {PROGRAM} {MODEL} {SERVICE} USER@BOARD:\n    \
             ssh USER@BOARD \"sudo install -D -t /opt/whittle {PROGRAM} && sudo install -m 644 -t /opt/whittle {MODEL} \
             && sudo install -m 644 -t /etc/systemd/system {SERVICE} && sudo systemctl enable --now whittle\"\n\n\
             ## Another model\n\n\
             A running program reads its file all the time: put the new one beside it and rename it.\n\n    \
             scp {MODEL} USER@BOARD:model.new\n    \
             ssh USER@BOARD \"sudo install -m 644 model.new /opt/whittle/model.new && sudo mv /opt/whittle/model.new \
             /opt/whittle/{MODEL} && sudo systemctl restart whittle\"\n\n\
             The program was run in an emulator of the processor; none of this was tried on a {board}.\n"
        )
    }
}

/// The service, for systemd.
fn service() -> String {
    format!(
        "[Unit]\n\
         Description=Whittle: a language model that answers on 127.0.0.1:{PORT}\n\n\
         [Service]\n\
         ExecStart=/opt/whittle/{PROGRAM} /opt/whittle/{MODEL} --listen 127.0.0.1:{PORT}\n\
         DynamicUser=yes\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ProtectHome=yes\n\
         PrivateDevices=yes\n\
         Restart=on-failure\n\n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Isa;
    use crate::job::Job;

    fn zero_2w() -> &'static Board {
        Board::find("raspberry-pi-zero-2w").unwrap()
    }

    fn model() -> PackedModel {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/packed/llama-1bit.snap.whittle");
        PackedModel::open(&path, &Job::silent()).unwrap()
    }

    #[test]
    fn a_folder_holds_the_program_the_model_and_the_commands() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("parts");
        let model = model();
        let bundle = Bundle::new(zero_2w(), None, &model).unwrap().unwrap();
        bundle.write(&folder).unwrap();
        // Once more: an earlier one is replaced, also one of before the licences.
        std::fs::remove_file(folder.join(bill::LICENCES)).unwrap();
        bundle.write(&folder).unwrap();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(read(MODEL), model.bytes());
        assert_eq!(Some(&*read(PROGRAM)), prebuilt(zero_2w()));
        let page = String::from_utf8(read(PAGE)).unwrap();
        for line in [
            "scp whittle-linux model.whittle USER@BOARD:",
            "./whittle-linux model.whittle --listen 127.0.0.1:7433",
            "whittle chat model.whittle --port tcp:127.0.0.1:7433",
            "--serial /dev/ttyGS0",
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
        assert!(!page.contains("from its card again"), "{page}");
        let bill = String::from_utf8(read(bill::BILL)).unwrap();
        for file in [PROGRAM, MODEL] {
            let hash = crate::packed::sha256_hex(&read(file));
            assert!(bill.contains(&hash), "{file}: {bill}");
        }
        let licences = String::from_utf8(read(bill::LICENCES)).unwrap();
        for line in [
            "- whittle-linux, whittle-linux: MIT",
            "- musl: MIT",
            "- rustix ",
        ] {
            assert!(licences.contains(line), "{line}: {licences}");
        }
        let service = String::from_utf8(read(SERVICE)).unwrap();
        assert!(
            service.contains(
                "ExecStart=/opt/whittle/whittle-linux /opt/whittle/model.whittle --listen"
            )
        );
    }

    #[test]
    fn a_model_above_the_boards_memory_is_told() {
        let mut board = zero_2w().clone();
        board.psram.as_mut().unwrap().bytes.value = 3;
        let model = model();
        let page = Bundle::new(&board, None, &model).unwrap().unwrap().page();
        let expected = format!(
            "has {} bytes and the board 3 of memory",
            model.bytes().len()
        );
        assert!(page.contains(&expected), "{page}");
    }

    #[test]
    fn what_is_no_program_for_it_is_refused() {
        let model = model();
        let refused = |board: &Board, program: &[u8]| {
            let bundle = Bundle::new(board, Some(program), &model).unwrap();
            bundle.unwrap_err().to_string()
        };
        assert!(
            refused(zero_2w(), b"#!/bin/sh")
                .ends_with("expected a 64-bit little-endian ELF header")
        );
        let mut other = prebuilt(zero_2w()).unwrap().to_vec();
        // The machine of an ELF header: x86-64.
        other[18] = 62;
        assert!(refused(zero_2w(), &other).ends_with("it is for machine 62, the board is aarch64"));
        let esp32 = Board::find("esp32-c3").unwrap();
        assert!(Bundle::new(esp32, None, &model).is_none());
        let mut riscv = zero_2w().clone();
        riscv.isa = Isa::Riscv32imac;
        assert!(refused(&riscv, b"").ends_with("have aarch64 processors"));
    }
}
