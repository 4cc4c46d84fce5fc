//! One change of a stored attribute.

use crate::scim::patch_path::PatchPath;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::value::ValueStrictness;
use serde_json::Value;

#[derive(Debug, Clone, Copy)]
pub(super) struct PatchOp<'a> {
    pub verb: PatchVerb,
    pub path: &'a PatchPath,
    pub value: &'a Value,
    pub strictness: ValueStrictness,
}
