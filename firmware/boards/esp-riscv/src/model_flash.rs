//! The model partition, written while the program runs from the same flash.
//!
//! It is erased from its start on, and the first piece of a model is written last: until then nothing there begins as a
//! packed file does, so a board that loses its power at any moment refuses its model at the next start and answers.
//! esp-storage calls the ROM's functions from RAM with interrupts off, so nothing is fetched from flash while it is busy.
//! Nobody looks through the window meanwhile, and the restart that follows maps the partition anew, upon which the cache
//! forgets what it held of it (`window::map`).

use app::{PIECE_BYTES, Store};
use esp_hal::peripherals::FLASH;
use esp_storage::FlashStorage;

/// A piece as the ROM's functions take it: at a multiple of four bytes.
#[repr(align(4))]
struct Piece([u8; PIECE_BYTES]);

impl Piece {
    /// Nothing is written where flash stays erased.
    const ERASED: Self = Self([0xFF; PIECE_BYTES]);
}

/// Where the model lies in flash.
pub struct ModelFlash {
    chip: Chip,
    /// Where the partition begins.
    address: u32,
    /// Bytes of it that models can have: whole sectors, and no more than the window shows.
    room: u32,
    /// The beginning of the model that is being written.
    first: Piece,
}

/// The flash, which is asked for its size before it is first written: a board that only answers has no need to.
enum Chip {
    Unasked(Option<FLASH<'static>>),
    Known(FlashStorage<'static>),
}

impl ModelFlash {
    /// The partition that begins at an address; none where flash is encrypted, for what is written plainly could not be read.
    pub fn new(flash: FLASH<'static>, address: usize, shown_bytes: usize) -> Option<Self> {
        let address = u32::try_from(address).ok()?;
        let room = u32::try_from(shown_bytes).ok()?;
        (!esp_hal::efuse::flash_encryption()).then_some(Self {
            chip: Chip::Unasked(Some(flash)),
            address,
            room: room - room % FlashStorage::SECTOR_SIZE,
            first: Piece::ERASED,
        })
    }

    fn chip(&mut self) -> Result<&mut FlashStorage<'static>, &'static str> {
        if let Chip::Unasked(flash) = &mut self.chip
            && let Some(flash) = flash.take()
        {
            self.chip = Chip::Known(FlashStorage::new(flash));
        }
        match &mut self.chip {
            Chip::Known(chip) => Ok(chip),
            Chip::Unasked(_) => Err("the flash is not there"),
        }
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), &'static str> {
        let mut piece = Piece::ERASED;
        piece.0[..bytes.len()].copy_from_slice(bytes);
        let words = bytes.len().next_multiple_of(size_of::<u32>());
        let address = self.address + offset;
        self.chip()?
            .write_nor(address, &piece.0[..words])
            .map_err(|_| "the flash does not take the model")
    }

    fn read_back(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), &'static str> {
        let mut piece = Piece::ERASED;
        let words = bytes.len().next_multiple_of(size_of::<u32>());
        let address = self.address + offset;
        self.chip()?
            .read_nor(address, &mut piece.0[..words])
            .map_err(|_| "the flash does not give back the model")?;
        bytes.copy_from_slice(&piece.0[..bytes.len()]);
        Ok(())
    }
}

impl Store for ModelFlash {
    fn room_bytes(&self) -> u32 {
        self.room
    }

    fn erase(&mut self, bytes: u32) -> Result<(), &'static str> {
        let bytes = match bytes {
            0 => self.room,
            bytes => bytes.next_multiple_of(FlashStorage::SECTOR_SIZE),
        };
        self.first = Piece::ERASED;
        let (from, to) = (self.address, self.address + bytes);
        self.chip()?
            .erase(from, to)
            .map_err(|_| "the flash cannot be erased")
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), &'static str> {
        if offset == 0 {
            self.first.0[..bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        self.program(offset, bytes)
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), &'static str> {
        if offset == 0 {
            bytes.copy_from_slice(&self.first.0[..bytes.len()]);
            return Ok(());
        }
        self.read_back(offset, bytes)
    }

    fn commit(&mut self) -> Result<(), &'static str> {
        let first = core::mem::replace(&mut self.first, Piece::ERASED).0;
        self.program(0, &first)?;
        let mut found = [0; PIECE_BYTES];
        self.read_back(0, &mut found)?;
        if found == first {
            Ok(())
        } else {
            Err("the flash does not read back what was sent")
        }
    }
}
