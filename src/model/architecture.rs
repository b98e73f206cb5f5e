//! Which models Whittle runs, and whether a file has every tensor that its architecture needs.

use super::{ModelError, Tensor};
use engine::shape::{Architecture, Hyperparameters, Role};

/// The architecture that a file names.
///
/// # Errors
/// When the engine knows none of this name.
pub(super) fn named(name: &str) -> Result<Architecture, ModelError> {
    Architecture::from_name(name)
        .ok_or_else(|| ModelError::unsupported("architecture", name, supported()))
}

/// Every architecture, for messages: "llama, qwen2, qwen3".
pub(super) fn supported() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}

/// GGUF name of a tensor: `blk.3.ffn_down.weight`.
pub(super) fn tensor_name(role: Role, layer: Option<u32>) -> String {
    match layer {
        Some(layer) => format!("blk.{layer}.{}", role.gguf_name()),
        None => role.gguf_name().to_owned(),
    }
}

/// The role and layer of a GGUF name, if the engine knows such a tensor.
pub(super) fn role_from_name(name: &str) -> Option<(Role, Option<u32>)> {
    let (layer, rest) = match name.strip_prefix("blk.") {
        Some(rest) => {
            let (number, rest) = rest.split_once('.')?;
            (Some(number.parse().ok()?), rest)
        }
        None => (None, name),
    };
    // Frequencies are computed, not read: `rope_freqs.weight` holds divisors.
    Role::ALL
        .into_iter()
        .filter(|role| *role != Role::RopeFrequencies)
        .find(|role| role.is_per_layer() == layer.is_some() && role.gguf_name() == rest)
        .map(|role| (role, layer))
}

/// Checks that each role is there, once, in every layer, in its shape.
///
/// # Errors
/// Names the first tensor that is wrong.
pub(super) fn check_tensors(
    architecture: Architecture,
    h: &Hyperparameters,
    tensors: &[Tensor],
) -> Result<(), ModelError> {
    let layers = h.layers as usize;
    // Which tensors were met: one bit for each role of each layer, those outside layers last.
    let mut seen = vec![0_u32; layers + 1];
    for tensor in tensors {
        let place = match tensor.layer {
            Some(layer) if layer < h.layers => layer as usize,
            Some(_) => {
                return Err(ModelError::malformed(
                    format_args!("tensor {}", tensor.name),
                    format_args!("a layer below {layers}"),
                    "a tensor of a layer beyond the last",
                ));
            }
            None => layers,
        };
        let bit = 1 << tensor.role as u32;
        if seen[place] & bit != 0 {
            return Err(ModelError::malformed(
                format_args!("tensor {}", tensor.name),
                "one tensor for each role",
                "two",
            ));
        }
        seen[place] |= bit;
        let expected = shape(tensor.role, h);
        let found = [tensor.rows as u64, tensor.cols as u64];
        if found != expected {
            return Err(ModelError::Shape {
                tensor: tensor.name.clone(),
                expected,
                found,
            });
        }
    }
    for role in Role::ALL {
        if role == Role::RopeFrequencies {
            continue;
        }
        let bit = 1 << role as u32;
        let places = if role.is_per_layer() {
            0..layers
        } else {
            layers..layers + 1
        };
        // An optional tensor that one layer has, all layers must have: a file that lacks some is
        // cut short, not differently built.
        let optional = role.is_optional()
            && !architecture.required().contains(&role)
            && seen[places.clone()].iter().all(|bits| bits & bit == 0);
        if optional {
            continue;
        }
        if let Some(place) = places.into_iter().find(|&place| seen[place] & bit == 0) {
            let layer = role
                .is_per_layer()
                .then(|| u32::try_from(place).unwrap_or(u32::MAX));
            return Err(ModelError::Missing {
                tensor: tensor_name(role, layer),
                expected: shape(role, h),
            });
        }
    }
    Ok(())
}

fn shape(role: Role, h: &Hyperparameters) -> [u64; 2] {
    let (rows, cols) = role.shape(h);
    [rows.into(), cols.into()]
}

/// Hyperparameters that the engine can run.
///
/// # Errors
/// Names the first number that is out of range.
pub(super) fn checked(h: Hyperparameters) -> Result<Hyperparameters, ModelError> {
    match h.check() {
        Ok(()) => Ok(h),
        Err(wrong) => Err(ModelError::malformed(
            format_args!("hyperparameter {}", wrong.name),
            "a value that the engine can run",
            format_args!("{h:?}"),
        )),
    }
}
