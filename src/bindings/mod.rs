//! `bindings.json`: which SCIM group gives which backup role at which scope.
//!
//! [`Bindings::parse`] reads a file strictly and reports every mistake at once, each with its place. The JSON
//! Schema that [`Bindings::json_schema`] generates is published as `bindings.schema.json`, for editors.
//! What a binding gives to whom is not decided here.

mod drill;
mod fields;
mod file;
mod json;
mod mistake;
mod model;
mod near_word;
mod position;
mod schema;
mod walk;

pub use drill::{DRILL_GROUP, with_drill};
pub use file::read;
pub use mistake::{BindingsError, BindingsMistake};
pub use model::{
    BINDINGS_MAX, Bindings, ConfiguredBinding, FILE_BYTES_MAX, PrincipalSource, SELECTOR_CHARS_MAX, Selector,
};
pub use near_word::near_word;
pub use position::{TextPosition, position_of};

#[cfg(test)]
mod tests;
