//! Who computes: the host's threads and the processor's vector units, both chosen by the host.

/// Runs independent tasks, on as many threads as it likes.
///
/// Each task writes its own part of the output, so neither order nor number of threads changes a bit.
pub trait Workers: Sync {
    /// Calls `task` once for each number below `tasks`, and returns when all are done.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// One thread: the boards' choice, and the tests'.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

impl Workers for Serial {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// The instructions that kernels may use.
///
/// The host detects what the processor has, once; the engine detects nothing. A level is made only
/// by [`SimdLevel::scalar`], by [`SimdLevel::paired`] or, after detection, by an unsafe constructor in
/// `kernels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimdLevel(pub(crate) Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Scalar,
    Paired,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl SimdLevel {
    /// Plain Rust, on any processor.
    #[must_use]
    pub const fn scalar() -> Self {
        Self(Level::Scalar)
    }

    /// Two products of a weight and an activation in one multiplication of 32 bits, on any processor:
    /// for those without vectors.
    #[must_use]
    pub const fn paired() -> Self {
        Self(Level::Paired)
    }

    /// The name by which a person forces it: `scalar`, `paired`, `avx2`, `avx512`, `neon`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            Level::Paired => "paired",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
        }
    }
}

/// What the host lends the engine for a computation.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// The instructions that kernels may use.
    pub level: SimdLevel,
    /// The threads.
    pub workers: &'a dyn Workers,
}

impl Host<'static> {
    /// Plain Rust on one thread: the definition of right.
    #[must_use]
    pub const fn serial() -> Self {
        Self {
            level: SimdLevel::scalar(),
            workers: &Serial,
        }
    }

    /// One core without vectors: any board.
    #[must_use]
    pub const fn board() -> Self {
        Self {
            level: SimdLevel::paired(),
            workers: &Serial,
        }
    }
}

impl core::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Host")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}
