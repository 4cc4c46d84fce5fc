//! Reads and evaluates the part of Bicep that `infra/` uses, so that tests can ask the template itself what it deploys.
//!
//! Whatever it does not know ends the test: an expression is never guessed at.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A template: what it declares, by name.
#[derive(Debug, Default)]
pub struct Template {
    pub parameters: Vec<String>,
    pub variables: BTreeMap<String, Expression>,
    pub modules: Vec<Declaration>,
    pub resources: Vec<Declaration>,
    pub outputs: BTreeMap<String, Expression>,
}

/// A resource (with its type) or a module (with its path).
#[derive(Debug)]
pub struct Declaration {
    pub name: String,
    pub kind: String,
    pub body: Expression,
}

#[derive(Debug, Clone)]
pub enum Expression {
    Literal(Value),
    Text(Vec<Part>),
    Name(String),
    Member(Box<Expression>, String),
    Index(Box<Expression>, Box<Expression>),
    Call(String, Vec<Expression>),
    Lambda(String, Box<Expression>),
    Object(Vec<(Expression, Expression)>),
    Array(Vec<Expression>),
    Either(Box<Expression>, Box<Expression>, Box<Expression>),
    Binary(Box<Expression>, String, Box<Expression>),
    Not(Box<Expression>),
    For(String, Box<Expression>, Box<Expression>),
    If(Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone)]
pub enum Part {
    Text(String),
    Inserted(Expression),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Number(i64),
    Text(Vec<TextToken>),
    Sign(String),
}

#[derive(Debug, Clone, PartialEq)]
enum TextToken {
    Plain(String),
    Inserted(Vec<(Token, bool)>),
}

/// Parses a whole file.
pub fn parse(source: &str) -> Template {
    let signs: Vec<char> = source.chars().collect();
    let mut at = 0;
    let tokens = tokens(&signs, &mut at, false);
    Parser { tokens, at: 0 }.template()
}

/// Two signs that belong together come first.
const SIGNS: [&str; 9] = ["=>", "==", "!=", ">=", "<=", "&&", "||", "??", ".?"];

/// Each token with whether a new line stands before it. `inside`: up to the `}` that ends an insertion.
fn tokens(signs: &[char], at: &mut usize, inside: bool) -> Vec<(Token, bool)> {
    let mut found = Vec::new();
    let (mut depth, mut new_line) = (0, true);
    while *at < signs.len() {
        let sign = signs[*at];
        let pair: String = signs[*at..].iter().take(2).collect();
        if sign.is_whitespace() {
            new_line |= sign == '\n';
            *at += 1;
            continue;
        }
        if pair == "//" {
            while *at < signs.len() && signs[*at] != '\n' {
                *at += 1;
            }
            continue;
        }
        if inside && sign == '}' && depth == 0 {
            return found;
        }
        depth += i32::from(sign == '{') - i32::from(sign == '}');
        let token = token(signs, at, &pair);
        found.push((token, new_line));
        new_line = false;
    }
    assert!(!inside, "an insertion is not closed");
    found
}

fn token(signs: &[char], at: &mut usize, pair: &str) -> Token {
    let sign = signs[*at];
    let word = |c: &&char| c.is_alphanumeric() || **c == '_';
    if sign == '\'' {
        return Token::Text(text(signs, at));
    }
    if sign.is_alphanumeric() || sign == '_' {
        let run: String = signs[*at..].iter().take_while(word).collect();
        *at += run.chars().count();
        return run.parse().map_or(Token::Word(run), Token::Number);
    }
    if SIGNS.contains(&pair) {
        *at += 2;
        return Token::Sign(pair.to_owned());
    }
    *at += 1;
    Token::Sign(sign.to_string())
}

fn text(signs: &[char], at: &mut usize) -> Vec<TextToken> {
    let (mut parts, mut plain) = (Vec::new(), String::new());
    *at += 1;
    loop {
        match signs[*at] {
            '\'' => break,
            '\\' => {
                *at += 1;
                plain.push(match signs[*at] {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    same @ ('\\' | '\'' | '$') => same,
                    other => panic!("escape \\{other}"),
                });
            }
            '$' if signs[*at + 1] == '{' => {
                parts.push(TextToken::Plain(std::mem::take(&mut plain)));
                *at += 2;
                parts.push(TextToken::Inserted(tokens(signs, at, true)));
            }
            '\n' => panic!("a string ends with its line"),
            other => plain.push(other),
        }
        *at += 1;
    }
    *at += 1;
    assert!(signs.get(*at) != Some(&'\''), "strings of several lines are not known here");
    parts.push(TextToken::Plain(plain));
    parts
}

struct Parser {
    tokens: Vec<(Token, bool)>,
    at: usize,
}

impl Parser {
    fn template(&mut self) -> Template {
        let mut template = Template::default();
        while self.at < self.tokens.len() {
            self.statement(&mut template);
        }
        template
    }

    fn statement(&mut self, template: &mut Template) {
        if self.accept("@") {
            self.expression();
            return;
        }
        match self.word().as_str() {
            "targetScope" => {
                self.expect("=");
                self.expression();
            }
            "param" => {
                template.parameters.push(self.word());
                self.word();
                if self.accept("=") {
                    self.expression();
                }
            }
            "var" => {
                let name = self.word();
                self.expect("=");
                let value = self.expression();
                assert!(template.variables.insert(name.clone(), value).is_none(), "{name} twice");
            }
            "module" => template.modules.push(self.declaration()),
            "resource" => template.resources.push(self.declaration()),
            "output" => {
                let name = self.word();
                self.word();
                self.expect("=");
                let value = self.expression();
                template.outputs.insert(name, value);
            }
            other => panic!("statement {other}"),
        }
    }

    fn declaration(&mut self) -> Declaration {
        let name = self.word();
        let Expression::Literal(Value::String(kind)) = self.primary() else { panic!("a type or a path") };
        self.accept_word("existing");
        self.expect("=");
        Declaration { name, kind, body: self.body() }
    }

    fn body(&mut self) -> Expression {
        if self.accept_word("if") {
            let condition = self.primary();
            return Expression::If(Box::new(condition), Box::new(self.body()));
        }
        self.primary()
    }

    fn expression(&mut self) -> Expression {
        if let (Some((Token::Word(name), _)), Some((Token::Sign(arrow), _))) =
            (self.tokens.get(self.at), self.tokens.get(self.at + 1))
            && arrow == "=>"
        {
            let name = name.clone();
            self.at += 2;
            return Expression::Lambda(name, Box::new(self.expression()));
        }
        let condition = self.binary(0);
        if !self.accept("?") {
            return condition;
        }
        let yes = self.expression();
        self.expect(":");
        Expression::Either(Box::new(condition), Box::new(yes), Box::new(self.expression()))
    }

    fn binary(&mut self, level: usize) -> Expression {
        const LEVELS: [&[&str]; 6] =
            [&["??"], &["||"], &["&&"], &["==", "!="], &["<", ">", "<=", ">="], &["+", "-"]];
        let Some(signs) = LEVELS.get(level) else { return self.postfix() };
        let mut left = self.binary(level + 1);
        while let Some(sign) = signs.iter().find(|sign| self.accept(sign)) {
            left = Expression::Binary(Box::new(left), (*sign).to_owned(), Box::new(self.binary(level + 1)));
        }
        left
    }

    fn postfix(&mut self) -> Expression {
        if self.accept("!") {
            return Expression::Not(Box::new(self.postfix()));
        }
        let mut value = self.primary();
        loop {
            // That a conditional module is there changes no value.
            let _ = !self.new_line() && self.accept("!");
            if self.accept(".") || self.accept(".?") {
                value = Expression::Member(Box::new(value), self.word());
            } else if !self.new_line() && self.accept("[") {
                self.accept("?");
                value = Expression::Index(Box::new(value), Box::new(self.expression()));
                self.expect("]");
            } else {
                return value;
            }
        }
    }

    fn primary(&mut self) -> Expression {
        let (token, _) = self.tokens[self.at].clone();
        self.at += 1;
        match token {
            Token::Number(number) => Expression::Literal(json!(number)),
            Token::Text(parts) => text_expression(parts),
            Token::Word(word) => match word.as_str() {
                "true" => Expression::Literal(json!(true)),
                "false" => Expression::Literal(json!(false)),
                "null" => Expression::Literal(Value::Null),
                _ if !self.new_line() && self.accept("(") => Expression::Call(word, self.list(")")),
                _ => Expression::Name(word),
            },
            Token::Sign(sign) => match sign.as_str() {
                "(" => {
                    let inner = self.expression();
                    self.expect(")");
                    inner
                }
                "[" if self.accept_word("for") => self.repeated(),
                "[" => Expression::Array(self.list("]")),
                "{" => self.object(),
                other => panic!("sign {other}"),
            },
        }
    }

    fn repeated(&mut self) -> Expression {
        let name = self.word();
        assert!(self.accept_word("in"));
        let list = self.expression();
        self.expect(":");
        let body = self.body();
        self.expect("]");
        Expression::For(name, Box::new(list), Box::new(body))
    }

    fn list(&mut self, end: &str) -> Vec<Expression> {
        let mut items = Vec::new();
        while !self.accept(end) {
            items.push(self.expression());
            self.accept(",");
        }
        items
    }

    fn object(&mut self) -> Expression {
        let mut properties = Vec::new();
        while !self.accept("}") {
            let key = match self.primary() {
                Expression::Name(name) => Expression::Literal(json!(name)),
                text => text,
            };
            self.expect(":");
            properties.push((key, self.expression()));
            self.accept(",");
        }
        Expression::Object(properties)
    }

    fn new_line(&self) -> bool {
        self.tokens.get(self.at).is_none_or(|(_, new_line)| *new_line)
    }

    fn word(&mut self) -> String {
        let Some((Token::Word(word), _)) = self.tokens.get(self.at).cloned() else {
            panic!("a word, not {:?}", self.tokens.get(self.at))
        };
        self.at += 1;
        word
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((Token::Sign(next), _)) if next == sign);
        self.at += usize::from(found);
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((Token::Word(next), _)) if next == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) {
        assert!(self.accept(sign), "{sign} and not {:?}", self.tokens.get(self.at));
    }
}

fn text_expression(parts: Vec<TextToken>) -> Expression {
    if let [TextToken::Plain(text)] = parts.as_slice() {
        return Expression::Literal(json!(text));
    }
    let parts = parts.into_iter().map(|part| match part {
        TextToken::Plain(text) => Part::Text(text),
        TextToken::Inserted(tokens) => Part::Inserted(Parser { tokens, at: 0 }.expression()),
    });
    Expression::Text(parts.collect())
}

/// What names mean while an expression is evaluated.
pub struct Evaluation<'a> {
    pub template: &'a Template,
    /// The files that the template loads, by the path that it writes.
    pub files: BTreeMap<&'a str, String>,
    pub parameters: BTreeMap<&'a str, Value>,
}

type Locals = Vec<(String, Value)>;

impl Evaluation<'_> {
    /// The value of a variable or a parameter. A resource is known by the name that it has in the template.
    pub fn value(&self, name: &str) -> Value {
        if let Some(value) = self.parameters.get(name) {
            return value.clone();
        }
        if self.template.resources.iter().any(|resource| resource.name == name) {
            return json!({ "id": name, "name": name });
        }
        let variable = self.template.variables.get(name).unwrap_or_else(|| panic!("nothing is named {name}"));
        self.evaluate(variable, &Vec::new())
    }

    /// What is deployed: for each module its path, where it goes, and its parameters.
    pub fn modules(&self) -> Vec<(String, Value, Value)> {
        let each = self.template.modules.iter().flat_map(|module| {
            let deployed = self.deployed(module).into_iter();
            deployed.map(|body| (module.kind.clone(), body["scope"].clone(), body["params"].clone()))
        });
        each.collect()
    }

    /// The bodies of the deployed resources of a type, whatever its version.
    pub fn resources(&self, kind: &str) -> Vec<Value> {
        let of_kind = self.template.resources.iter().filter(|one| one.kind.split('@').next() == Some(kind));
        of_kind.flat_map(|resource| self.deployed(resource)).collect()
    }

    /// One for each turn of a loop, none where the condition is false.
    fn deployed(&self, declaration: &Declaration) -> Vec<Value> {
        let bodies = match self.evaluate(&declaration.body, &Vec::new()) {
            Value::Array(list) => list,
            one => vec![one],
        };
        bodies.into_iter().filter(|body| !body.is_null()).collect()
    }

    pub fn evaluate(&self, expression: &Expression, locals: &Locals) -> Value {
        match expression {
            Expression::Literal(value) => value.clone(),
            Expression::Text(parts) => {
                json!(parts.iter().map(|part| self.part(part, locals)).collect::<String>())
            }
            Expression::Name(name) => match locals.iter().rev().find(|(local, _)| local == name) {
                Some((_, value)) => value.clone(),
                None => self.value(name),
            },
            Expression::Member(value, key) => self.evaluate(value, locals)[key.as_str()].clone(),
            Expression::Index(list, at) => {
                let at = self.evaluate(at, locals).as_u64().unwrap();
                self.evaluate(list, locals)[usize::try_from(at).unwrap()].clone()
            }
            Expression::Object(properties) => Value::Object(
                properties
                    .iter()
                    .map(|(key, value)| self.property(key, value, locals))
                    .collect::<Map<_, _>>(),
            ),
            Expression::Array(items) => {
                Value::Array(items.iter().map(|item| self.evaluate(item, locals)).collect())
            }
            Expression::Either(condition, yes, no) => {
                let taken = if self.evaluate(condition, locals) == json!(true) { yes } else { no };
                self.evaluate(taken, locals)
            }
            Expression::Binary(left, sign, right) => {
                binary(&self.evaluate(left, locals), sign, || self.evaluate(right, locals))
            }
            Expression::Not(value) => json!(self.evaluate(value, locals) != json!(true)),
            Expression::For(name, list, body) => {
                let list = elements(self.evaluate(list, locals));
                Value::Array(list.into_iter().map(|item| self.with(name, item, body, locals)).collect())
            }
            Expression::Call(name, arguments) => self.call(name, arguments, locals),
            Expression::If(condition, body) if self.evaluate(condition, locals) == json!(true) => {
                self.evaluate(body, locals)
            }
            Expression::If(..) => Value::Null,
            Expression::Lambda(..) => panic!("not a value: {expression:?}"),
        }
    }

    fn part(&self, part: &Part, locals: &Locals) -> String {
        match part {
            Part::Text(text) => text.clone(),
            Part::Inserted(expression) => string(&self.evaluate(expression, locals)),
        }
    }

    fn property(&self, key: &Expression, value: &Expression, locals: &Locals) -> (String, Value) {
        (string(&self.evaluate(key, locals)), self.evaluate(value, locals))
    }

    fn with(&self, name: &str, item: Value, body: &Expression, locals: &Locals) -> Value {
        let mut locals = locals.clone();
        locals.push((name.to_owned(), item));
        self.evaluate(body, &locals)
    }

    fn call(&self, name: &str, arguments: &[Expression], locals: &Locals) -> Value {
        if let [list, Expression::Lambda(variable, body)] = arguments {
            let each = elements(self.evaluate(list, locals)).into_iter();
            let apply = |item: &Value| self.with(variable, item.clone(), body, locals);
            return Value::Array(match name {
                "map" => each.map(|item| apply(&item)).collect(),
                "filter" => each.filter(|item| apply(item) == json!(true)).collect(),
                other => panic!("function {other} with a lambda"),
            });
        }
        let arguments: Vec<Value> =
            arguments.iter().map(|argument| self.evaluate(argument, locals)).collect();
        match (name, arguments.as_slice()) {
            ("loadTextContent", [path]) => json!(self.file(path)),
            ("loadJsonContent", [path]) => serde_json::from_str(self.file(path)).unwrap(),
            (_, arguments) => function(name, arguments),
        }
    }

    fn file(&self, path: &Value) -> &str {
        let path = path.as_str().unwrap();
        self.files.get(path).unwrap_or_else(|| panic!("no file {path}"))
    }
}

fn binary(left: &Value, sign: &str, right: impl Fn() -> Value) -> Value {
    match sign {
        "??" if left.is_null() => right(),
        "??" => left.clone(),
        "==" => json!(*left == right()),
        "||" => json!(*left == json!(true) || right() == json!(true)),
        "-" => json!(left.as_i64().unwrap() - right().as_i64().unwrap()),
        other => panic!("operator {other}"),
    }
}

fn elements(list: Value) -> Vec<Value> {
    let Value::Array(list) = list else { panic!("a list, not {list}") };
    list
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

fn function(name: &str, arguments: &[Value]) -> Value {
    let text = |at: usize| string(&arguments[at]);
    match name {
        "any" => arguments[0].clone(),
        "toLower" => json!(to_lower(&text(0))),
        "trim" => json!(text(0).trim()),
        "startsWith" => json!(to_lower(&text(0)).starts_with(&to_lower(&text(1)))),
        "endsWith" => json!(to_lower(&text(0)).ends_with(&to_lower(&text(1)))),
        "replace" => json!(text(0).replace(&text(1), &text(2))),
        "split" => json!(text(0).split(&text(1)).collect::<Vec<_>>()),
        "substring" => {
            let [from, count] = [1, 2].map(|at| usize::try_from(arguments[at].as_i64().unwrap()).unwrap());
            json!(text(0).chars().skip(from).take(count).collect::<String>())
        }
        "join" => {
            json!(elements(arguments[0].clone()).iter().map(string).collect::<Vec<_>>().join(&text(1)))
        }
        "length" => match &arguments[0] {
            Value::Array(list) => json!(list.len()),
            text => json!(string(text).chars().count()),
        },
        "empty" => json!(match &arguments[0] {
            Value::Array(list) => list.is_empty(),
            text => string(text).is_empty(),
        }),
        "contains" => json!(elements(arguments[0].clone()).contains(&arguments[1])),
        // Every element once, in the order of its first place.
        "union" => {
            let mut united: Vec<Value> = Vec::new();
            for item in arguments.iter().cloned().flat_map(elements) {
                if !united.contains(&item) {
                    united.push(item);
                }
            }
            json!(united)
        }
        // Ordered by key, as the map behind an object here is too.
        "items" => {
            let entries = arguments[0].as_object().unwrap().iter();
            json!(entries.map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>())
        }
        "resourceGroup" if arguments.is_empty() => json!({ "id": "resourceGroup().id" }),
        "subscriptionResourceId" => json!(text(1)),
        "subscription" | "resourceGroup" | "uniqueString" | "guid" => {
            json!(format!("{name}({})", arguments.iter().map(string).collect::<Vec<_>>().join(", ")))
        }
        other => panic!("function {other}"),
    }
}

/// As .NET does it: a character for a character, whatever is beside it.
fn to_lower(text: &str) -> String {
    let lower = |character: char| {
        let mut lower = character.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(one), None) => one,
            _ => character,
        }
    };
    text.chars().map(lower).collect()
}
