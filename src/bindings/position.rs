//! Where in the text of a JSON document a place is: line and column, for editors.

/// Line and column of a place, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPosition {
    pub line: usize,
    pub column: usize,
}

/// Where the value at that JSON pointer (RFC 6901) begins; of a member, where its key begins. `None`: the document is not JSON,
/// or has no such place.
pub fn position_of(document: &[u8], pointer: &str) -> Option<TextPosition> {
    let parts: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let mut scanner = Scanner { text: std::str::from_utf8(document).ok()?, at: 0 };
    let at = scanner.find(&parts)?;
    let before = scanner.text.get(..at)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some(TextPosition { line, column })
}

/// Reads JSON that is known to be well-formed, without recursion where it only skips.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Where the place begins, from the value that comes next.
    fn find(&mut self, parts: &[String]) -> Option<usize> {
        let mut begins = None;
        for part in parts {
            self.skip_blanks();
            begins = Some(match self.peek()? {
                b'{' => self.member(part)?,
                b'[' => self.element(part.parse().ok()?)?,
                _ => return None,
            });
        }
        self.skip_blanks();
        Some(begins.unwrap_or(self.at))
    }

    /// Goes to the value of a member, and says where its key begins. Of a key that appears twice the second one counts: that is
    /// what a mistake is about.
    fn member(&mut self, key: &str) -> Option<usize> {
        self.take(b'{')?;
        let mut found = None;
        while self.take(b'}').is_none() {
            self.skip_blanks();
            let begins = self.at;
            let name = self.string()?;
            self.take(b':')?;
            let value = self.at;
            if name == key {
                found = Some((begins, value));
            }
            self.skip_value()?;
            let _ = self.take(b',');
        }
        let (begins, value) = found?;
        self.at = value;
        Some(begins)
    }

    fn element(&mut self, index: usize) -> Option<usize> {
        self.take(b'[')?;
        for _ in 0..index {
            self.skip_value()?;
            self.take(b',')?;
        }
        self.skip_blanks();
        (self.peek()? != b']').then_some(self.at)
    }

    fn string(&mut self) -> Option<String> {
        let begins = self.at;
        self.skip_value()?;
        serde_json::from_str(self.text.get(begins..self.at)?).ok()
    }

    /// Skips one value, whatever is in it.
    fn skip_value(&mut self) -> Option<()> {
        self.skip_blanks();
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => self.skip_word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Skips a number or a literal. `None`: nothing in JSON begins like that.
    fn skip_word(&mut self) -> Option<()> {
        let begins = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            self.at += 1;
        }
        (self.at > begins).then_some(())
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "{\n  \"a\": [1, {\"b\\\"\": \"x, ]\"}, true],\n  \"ü\": {\"c/d\": null, \"e\": -1.5e3},\n  \"f\": 1, \"f\": 2\n}\n";

    #[track_caller]
    fn check(pointer: &str, line: usize, column: usize) {
        assert_eq!(
            position_of(DOCUMENT.as_bytes(), pointer),
            Some(TextPosition { line, column }),
            "{pointer}"
        );
    }

    #[test]
    fn a_place_is_found_by_line_and_column() {
        check("", 1, 1);
        check("/a", 2, 3);
        check("/a/0", 2, 9);
        check("/a/1/b\"", 2, 13);
        check("/a/2", 2, 29);
        check("/ü/c~1d", 3, 9);
        check("/ü/e", 3, 22);
        check("/f", 4, 11);
    }

    #[test]
    fn what_is_not_there_has_no_position() {
        for pointer in ["/x", "/a/3", "/a/x", "/a/0/b", "/ü/c"] {
            assert_eq!(position_of(DOCUMENT.as_bytes(), pointer), None, "{pointer}");
        }
        let not_json =
            ["", "{", "{\"a\"", "[1,", "\u{feff}{}", "{\"a\": \"\\", "{\"b\": [$]}", "{\"b\": {/}}"];
        for document in not_json {
            assert_eq!(position_of(document.as_bytes(), "/a/1"), None, "{document}");
        }
        assert_eq!(position_of(&[b'"', 0xff], "/a"), None);
    }
}
