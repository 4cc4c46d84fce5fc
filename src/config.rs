//! The environment in, checked values out. Nothing else reads the environment.

/// Where the Functions host tells its handler to listen, on 127.0.0.1.
const HANDLER_PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

/// Why a setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{HANDLER_PORT} is {text:?}, which is no port; example: 7071")]
    HandlerPort { text: String },
}

/// The port of a custom handler; none where no Functions host started this process.
pub fn handler_port() -> Result<Option<u16>, ConfigError> {
    match std::env::var_os(HANDLER_PORT) {
        None => Ok(None),
        Some(text) => parse_port(&text.to_string_lossy()).map(Some),
    }
}

fn parse_port(text: &str) -> Result<u16, ConfigError> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| ConfigError::HandlerPort { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_that_can_be_called() {
        assert_eq!(parse_port("7071").unwrap(), 7071);
        for text in ["", "0", "65536", "http", " 7071"] {
            let message = parse_port(text).unwrap_err().to_string();
            assert!(message.contains(HANDLER_PORT) && message.contains("example"), "{message}");
        }
    }
}
