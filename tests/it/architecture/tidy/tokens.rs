//! Rust source as words, signs and literals, as far as the rules of `tidy` need it: comments are left out.

/// A word (`crate`, `super`, an identifier), `::`, one other sign, or a whole literal with its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Counts from 1.
    pub line: usize,
}

/// The tokens of a source text.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text, line: 1, tokens: Vec::new() };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn step(&mut self) {
        let first = self.rest.chars().next().unwrap_or_default();
        if let Some(length) = comment(self.rest) {
            self.advance(length);
        } else if let Some(length) = literal(self.rest) {
            self.push(length);
        } else if self.rest.starts_with("r#") && self.rest[2..].starts_with(word_sign) {
            self.advance(2);
        } else if word_sign(first) {
            self.push(self.rest.find(|c| !word_sign(c)).unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("::") {
            self.push(2);
        } else if first.is_whitespace() {
            self.advance(first.len_utf8());
        } else {
            self.push(first.len_utf8());
        }
    }

    fn push(&mut self, length: usize) {
        self.tokens.push(Token { text: self.rest[..length].to_owned(), line: self.line });
        self.advance(length);
    }

    fn advance(&mut self, length: usize) {
        let (read, rest) = self.rest.split_at(length);
        self.line += read.matches('\n').count();
        self.rest = rest;
    }
}

fn word_sign(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The bytes of the comment that `rest` begins with.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.starts_with("/*").then(|| block_comment(rest))
}

/// The bytes of the literal that `rest` begins with.
fn literal(rest: &str) -> Option<usize> {
    let literal =
        ["br", "cr", "r"].into_iter().find_map(|prefix| raw_string(rest.strip_prefix(prefix)?, prefix));
    literal.or_else(|| {
        ["b", "c", ""].into_iter().find_map(|prefix| {
            let literal = rest.strip_prefix(prefix).filter(|rest| rest.starts_with(['"', '\'']))?;
            quoted(literal, prefix)
        })
    })
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(next) = rest[at..].find(['/', '*']).map(|found| at + found) {
        let sign = &rest[next..];
        at = next + 1;
        if sign.starts_with("/*") {
            (depth, at) = (depth + 1, next + 2);
        } else if sign.starts_with("*/") {
            (depth, at) = (depth - 1, next + 2);
            if depth == 0 {
                return at;
            }
        }
    }
    rest.len()
}

/// `rest` stands behind the `r`.
fn raw_string(rest: &str, prefix: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then(|| {
        let end = format!("\"{}", "#".repeat(hashes));
        let body = hashes + 1;
        let closed = rest[body..].find(&end).map(|found| body + found + end.len());
        prefix.len() + closed.unwrap_or(rest.len())
    })
}

/// A string or a character; a lifetime is neither.
fn quoted(rest: &str, prefix: &str) -> Option<usize> {
    let quote = rest.chars().next()?;
    let mut signs = rest.char_indices().skip(1).peekable();
    if quote == '\'' {
        let inner: Vec<char> = rest.chars().skip(1).take(2).collect();
        let character = inner.first() == Some(&'\\') || inner.get(1) == Some(&'\'');
        if !character {
            return None;
        }
    }
    while let Some((at, sign)) = signs.next() {
        match sign {
            '\\' => drop(signs.next()),
            sign if sign == quote => return Some(prefix.len() + at + 1),
            _ => {}
        }
    }
    Some(prefix.len() + rest.len())
}

/// The tokens without the items under `#[cfg(test)]`, the lines that those items take, and the files that
/// `#[cfg(test)] mod name;` declares.
pub struct Production {
    pub tokens: Vec<Token>,
    pub test_lines: usize,
    pub test_files: Vec<String>,
}

/// Splits off what is only compiled for tests.
pub fn production(all: &[Token]) -> Production {
    let mut found = Production { tokens: Vec::new(), test_lines: 0, test_files: Vec::new() };
    let mut at = 0;
    while let Some(token) = all.get(at) {
        if !is(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            found.tokens.push(token.clone());
            at += 1;
            continue;
        }
        let item = &all[at..at + item_length(&all[at..])];
        found.test_lines += item.last().map_or(0, |last| last.line + 1 - token.line);
        if let Some(name) = declared_file(item) {
            found.test_files.push(name);
        }
        at += item.len();
    }
    found
}

/// The tokens begin with these.
pub fn is(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

/// Up to the `;` or the closing brace of the item, attributes included.
fn item_length(tokens: &[Token]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" if depth <= 1 => return at + 1 + usize::from(is(&tokens[at + 1..], &[";"])),
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn declared_file(item: &[Token]) -> Option<String> {
    let [.., keyword, name, end] = item else { return None };
    (keyword.text == "mod" && end.text == ";").then(|| name.text.clone())
}
