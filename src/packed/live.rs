//! The host's owner of tensors that are replaced while they run.

use super::{PackError, PackedModel, TextSections, WeightSource};
use crate::compress::{CompressedModel, CompressedTensor};
use arc_swap::ArcSwap;
use engine::arena::CachePrecision;
use engine::format::Text;
use engine::matrix::Matrix;
use engine::shape::Hyperparameters;
use engine::weights::{Weights, WeightsError, table_index, table_len};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a replacement waits for readers of old tensors: longer than a prefill takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks; readers take no lock, so they wake nobody.
const LOOK: Duration = Duration::from_millis(1);

type Tensors = Vec<Arc<CompressedTensor>>;

/// A model whose tensors may be replaced while it runs.
///
/// A reader takes the tensors as they are when a token starts, without a lock, and keeps those for the
/// whole token; a replacement shows from the next token on, and the KV cache stays. Old and new
/// together never take more than [`Self::ceiling_bytes`].
#[derive(Debug)]
pub struct LiveModel {
    shape: Hyperparameters,
    base: Base,
    tensors: ArcSwap<Tensors>,
    /// Tensors that were replaced and may still be read; locked by whoever replaces. They are kept
    /// here so that it frees them, not the reader between two tokens: large ones take milliseconds.
    replaced: Mutex<Tensors>,
    ceiling_bytes: usize,
    patience: Duration,
}

/// What stays while tensors are replaced.
#[derive(Debug)]
enum Base {
    /// The text; every tensor is in the list.
    Text(Arc<TextSections>),
    /// A packed file; the list has what replaces its tensors.
    Packed(Arc<PackedModel>),
}

impl LiveModel {
    /// A live model of these tensors. Its ceiling is what the model takes in 16 bits, the most that a
    /// recipe can ask, and its largest tensor once more.
    ///
    /// # Errors
    /// When they are not a model of this shape.
    pub fn new(
        shape: Hyperparameters,
        text: Arc<TextSections>,
        compressed: &CompressedModel,
    ) -> Result<Self, PackError> {
        text.text().map_err(|source| PackError::Format {
            name: "text".into(),
            source,
        })?;
        let live = Self::over(shape, Base::Text(text), compressed.tensors.clone());
        Weights::new(shape, &live.table(&live.tensors.load())).map_err(|problem| {
            PackError::Weights {
                name: "compressed model".into(),
                problem,
            }
        })?;
        Ok(live)
    }

    /// A live model of a packed file, which is read where it is. Its ceiling is as that of
    /// [`Self::new`], and the file.
    #[must_use]
    pub fn of_packed(packed: Arc<PackedModel>) -> Self {
        Self::over(packed.shape, Base::Packed(packed), Vec::new())
    }

    fn over(shape: Hyperparameters, base: Base, tensors: Tensors) -> Self {
        let mut live = Self {
            shape,
            base,
            tensors: ArcSwap::from_pointee(tensors),
            replaced: Mutex::default(),
            ceiling_bytes: 0,
            patience: PATIENCE,
        };
        let (mut sum, mut largest) = (0, 0);
        for matrix in live.table(&live.tensors.load()).iter().flatten() {
            let in_16_bits = matrix.rows() * matrix.cols() * 2;
            let bytes = in_16_bits.max(matrix.bytes().len());
            sum += bytes;
            largest = largest.max(bytes);
        }
        live.ceiling_bytes = live.base.bytes() + sum + largest;
        live
    }

    /// The same with another ceiling, and with another time for which a replacement waits for readers.
    #[must_use]
    pub fn with_ceiling(mut self, ceiling_bytes: usize, patience: Duration) -> Self {
        (self.ceiling_bytes, self.patience) = (ceiling_bytes, patience);
        self
    }

    /// The most that old and new tensors may take together.
    #[must_use]
    pub const fn ceiling_bytes(&self) -> usize {
        self.ceiling_bytes
    }

    /// Bytes of the tensors as they are now and of the replaced ones that somebody still reads.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let mut replaced = self.lock();
        self.free(&mut replaced);
        self.base.bytes() + bytes(&self.tensors.load()) + bytes(&replaced)
    }

    /// Replaces one tensor, found by its role and layer; returns the bytes by which the model grew.
    ///
    /// Waits for readers of tensors that were replaced before, if old and new would pass the ceiling.
    ///
    /// # Errors
    /// When no tensor of this role, layer and shape is there, or the ceiling leaves no room for it.
    pub fn replace(&self, tensor: Arc<CompressedTensor>) -> Result<i64, PackError> {
        let mut replaced = self.lock();
        let tensors = self.tensors.load_full();
        let refused = |problem| PackError::Weights {
            name: tensor.name.clone(),
            problem,
        };
        let index = index(&tensor);
        let old_bytes = match self.table(&tensors).get(index) {
            Some(Some(old)) => old.bytes().len(),
            Some(None) | None => {
                let layer = tensor.layer.unwrap_or(0);
                return Err(refused(WeightsError::Missing(tensor.role, layer)));
            }
        };
        let mut list = Tensors::clone(&tensors);
        let old = match list.iter_mut().find(|t| self::index(t) == index) {
            Some(place) => Some(std::mem::replace(place, Arc::clone(&tensor))),
            None => {
                list.push(Arc::clone(&tensor));
                None
            }
        };
        Weights::new(self.shape, &self.table(&list)).map_err(refused)?;
        self.make_room(&tensor, &tensors, &mut replaced)?;
        let grown = signed(tensor.bytes.len()) - signed(old_bytes);
        replaced.extend(old);
        self.tensors.store(Arc::new(list));
        drop(tensors);
        self.free(&mut replaced);
        Ok(grown)
    }

    /// Waits until the new tensor fits below the ceiling.
    fn make_room(
        &self,
        tensor: &CompressedTensor,
        now: &Tensors,
        replaced: &mut Tensors,
    ) -> Result<(), PackError> {
        let start = Instant::now();
        loop {
            let needed = self.base.bytes() + bytes(now) + bytes(replaced) + tensor.bytes.len();
            if needed <= self.ceiling_bytes {
                return Ok(());
            }
            let without_readers = self.base.bytes() + bytes(now) + tensor.bytes.len();
            let has_time = start.elapsed() < self.patience;
            if without_readers <= self.ceiling_bytes && self.free(replaced) > 0 {
                continue;
            }
            if without_readers > self.ceiling_bytes || !has_time {
                return Err(PackError::Ceiling {
                    name: tensor.name.clone(),
                    needed,
                    ceiling: self.ceiling_bytes,
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Frees the replaced tensors that nobody reads any more; returns how many.
    fn free(&self, replaced: &mut Tensors) -> usize {
        let (before, now) = (replaced.len(), self.tensors.load());
        // One that was taken back is among those of now.
        replaced.retain(|old| {
            Arc::strong_count(old) > 1 && !now.iter().any(|tensor| Arc::ptr_eq(tensor, old))
        });
        before - replaced.len()
    }

    /// The tensors as they are now; of a packed file only those that were replaced.
    #[must_use]
    pub fn tensors(&self) -> Arc<Tensors> {
        self.tensors.load_full()
    }

    fn table<'t>(&'t self, tensors: &'t Tensors) -> Vec<Option<Matrix<'t>>> {
        let mut table = vec![None; table_len(self.shape.layers)];
        if let Base::Packed(packed) = &self.base {
            for (place, matrix) in packed.matrices() {
                table[place] = Some(matrix);
            }
        }
        for tensor in tensors {
            if let Some(place) = table.get_mut(index(tensor)) {
                *place = Some(tensor.matrix());
            }
        }
        table
    }

    fn lock(&self) -> MutexGuard<'_, Tensors> {
        // A panic elsewhere leaves at worst a tensor in the list that nobody reads.
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Base {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Packed(packed) => packed.bytes().len(),
        }
    }
}

/// Its place in the engine's table.
const fn index(tensor: &CompressedTensor) -> usize {
    let layer = match tensor.layer {
        Some(layer) => layer,
        None => 0,
    };
    table_index(tensor.role, layer)
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn bytes(tensors: &[Arc<CompressedTensor>]) -> usize {
    tensors.iter().map(|t| t.bytes.len()).sum()
}

impl WeightSource for LiveModel {
    fn shape(&self) -> &Hyperparameters {
        &self.shape
    }

    fn cache(&self) -> CachePrecision {
        match &self.base {
            Base::Text(_) => CachePrecision::Sixteen,
            Base::Packed(packed) => packed.cache(),
        }
    }

    fn text(&self) -> Text<'_> {
        match &self.base {
            Base::Text(text) => text.text().expect("checked when the live model was made"),
            Base::Packed(packed) => packed.text(),
        }
    }

    fn lend(&self, work: &mut dyn FnMut(&Weights<'_>)) {
        let tensors = self.tensors.load_full();
        let table = self.table(&tensors);
        work(&Weights::new(self.shape, &table).expect("checked when tensors were exchanged"));
    }
}
