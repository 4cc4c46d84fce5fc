//! The identity endpoint of App Service and Functions, and the tokens that it gives out.

pub mod issued_tokens;
pub mod token_endpoint;
