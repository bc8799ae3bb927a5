//! The API's documentation as one HTML page, made on the server from the OpenAPI document: no script, nothing loaded
//! from anywhere.

mod example;
mod html;

use super::problem::Kind;
use example::{alternatives, example, kind, name_of, nullable, resolve};
use html::{code, escape, prose};
use serde_json::Value;
use std::fmt::Write as _;

const STYLE: &str = include_str!("docs/style.css");
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page's Content-Security-Policy: a browser loads and runs nothing but the style sheet, which it knows by its hash.
pub(super) fn content_security_policy() -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a Value,
}

impl Operation<'_> {
    fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn tag(&self) -> &str {
        self.body
            .pointer("/tags/0")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn role(&self) -> Option<&str> {
        self.body.pointer("/security/0/api_key/0").and_then(Value::as_str)
    }
}

/// Renders the page.
pub(super) fn page(document: &Value) -> String {
    let operations = operations(document);
    let mut out = String::with_capacity(256 * 1024);
    let info = |key: &str| document.pointer(key).and_then(Value::as_str).unwrap_or_default();
    let (title, version) = (info("/info/title"), info("/info/version"));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head><body>",
        title = escape(title),
    );
    out.push_str("<nav aria-label=\"Contents\"><a class=\"brand\" href=\"#top\">Paceline <small>API ");
    let _ = write!(out, "{}</small></a>", escape(version));
    let tags = document
        .get("tags")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for tag in tags {
        let name = tag.get("name").and_then(Value::as_str).unwrap_or_default();
        let _ = write!(
            out,
            "<a class=\"tag\" href=\"#tag-{}\">{}</a><ul>",
            anchor(name),
            escape(name)
        );
        for operation in operations.iter().filter(|o| o.tag() == name) {
            let _ = write!(
                out,
                "<li><a href=\"#{id}\"><b class=\"m {method}\">{method}</b> {summary}</a></li>",
                id = escape(operation.text("operationId")),
                method = operation.method,
                summary = escape(operation.text("summary").trim_end_matches('.')),
            );
        }
        out.push_str("</ul>");
    }
    out.push_str("<a class=\"tag\" href=\"#problems\">problems</a><a class=\"tag\" href=\"#schemas\">schemas</a></nav>");
    let _ = write!(out, "<main id=\"top\"><header><h1>{}</h1>", escape(title));
    out.push_str(&prose(info("/info/description")));
    out.push_str("<p><a href=\"/api/v1/openapi.json\">OpenAPI document</a></p></header>");
    for tag in tags {
        let text = |key: &str| tag.get(key).and_then(Value::as_str).unwrap_or_default();
        let _ = write!(
            out,
            "<section id=\"tag-{}\"><h2>{}</h2>{}",
            anchor(text("name")),
            escape(text("name")),
            prose(text("description"))
        );
        for operation in operations.iter().filter(|o| o.tag() == text("name")) {
            operation_html(&mut out, document, operation);
        }
        out.push_str("</section>");
    }
    problems_html(&mut out);
    schemas_html(&mut out, document);
    out.push_str("</main></body></html>\n");
    out
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document.get("paths").and_then(Value::as_object);
    paths
        .into_iter()
        .flatten()
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| {
                let body = item.get(*method)?;
                Some(Operation { method, path, body })
            })
        })
        .collect()
}

fn operation_html(out: &mut String, document: &Value, operation: &Operation<'_>) {
    let role = match operation.role() {
        Some(role) => format!("<span class=\"role\">role {}</span>", escape(role)),
        None => "<span class=\"role\">no key</span>".to_owned(),
    };
    let path = escape(operation.path).replace('{', "<i>{").replace('}', "}</i>");
    let _ = write!(
        out,
        "<article id=\"{id}\"><h3>{summary}</h3><p class=\"line\"><b class=\"m {method}\">{method}</b> <code>{path}</code> {role}</p>\
         <div class=\"columns\"><div>{description}",
        id = escape(operation.text("operationId")),
        summary = escape(operation.text("summary").trim_end_matches('.')),
        method = operation.method,
        description = prose(operation.text("description")),
    );
    parameters_html(out, document, operation);
    let sent = operation
        .body
        .pointer("/requestBody/content/application~1json/schema");
    if let Some(schema) = sent {
        let _ = write!(out, "<h4>Body</h4><p>{}</p>", type_html(schema));
        fields_html(out, document, resolve(document, schema));
    }
    let answer = responses_html(out, operation);
    out.push_str("</div><div class=\"code\">");
    request_html(out, document, operation, sent);
    if let Some((status, schema)) = answer {
        let shown = pretty(&example(document, schema));
        let _ = write!(out, "<h5>{status}</h5><pre>{}</pre>", escape(&shown));
    }
    out.push_str("</div></div></article>");
}

fn parameters_html(out: &mut String, document: &Value, operation: &Operation<'_>) {
    let parameters = operation.body.get("parameters").and_then(Value::as_array);
    let Some(parameters) = parameters.filter(|all| !all.is_empty()) else {
        return;
    };
    out.push_str("<h4>Parameters</h4><table>");
    for parameter in parameters {
        let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
        let schema = parameter.get("schema").unwrap_or(&Value::Null);
        let required = parameter
            .get("required")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        row_html(
            out,
            document,
            text("name"),
            schema,
            required,
            text("description"),
            text("in"),
        );
    }
    out.push_str("</table>");
}

/// Writes the table of responses. Returns the first success with a body.
fn responses_html<'a>(out: &mut String, operation: &'a Operation<'_>) -> Option<(&'a str, &'a Value)> {
    let responses = operation.body.get("responses").and_then(Value::as_object)?;
    out.push_str("<h4>Responses</h4><table>");
    let mut answer = None;
    let mut general = String::new();
    for (status, response) in responses {
        let schema = response.pointer("/content/application~1json/schema");
        if let (true, None, Some(schema)) = (status.starts_with('2'), answer, schema) {
            answer = Some((status.as_str(), schema));
        }
        let description = response
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // A response that many operations share is explained once, among the problems.
        if let Some(kind) = Kind::ALL.iter().find(|kind| kind.title() == description) {
            let slug = kind.slug();
            let _ = write!(
                general,
                " <a href=\"#problem-{slug}\" title=\"{}\">{status}</a>",
                escape(description)
            );
            continue;
        }
        let schema = schema.map(type_html).unwrap_or_default();
        let _ = write!(
            out,
            "<tr><td><code>{status}</code></td><td>{schema} {}</td></tr>",
            code(description)
        );
    }
    let _ = write!(out, "</table><p class=\"general\">As everywhere:{general}</p>");
    answer
}

/// An id for an element.
fn anchor(name: &str) -> String {
    escape(&name.to_lowercase().replace(' ', "-"))
}

/// The description of a field. If the field may be null, its first alternative has the description.
fn description(field: &Value) -> &str {
    let own = field.get("description");
    let inner = || alternatives(field)?.first()?.get("description");
    own.or_else(inner).and_then(Value::as_str).unwrap_or_default()
}

fn request_html(out: &mut String, document: &Value, operation: &Operation<'_>, sent: Option<&Value>) {
    let mut curl = String::from("curl ");
    if operation.method != "get" {
        let _ = write!(curl, "-X {} ", operation.method.to_uppercase());
    }
    let id = operation
        .body
        .pointer("/parameters/0/schema")
        .map(|schema| example(document, schema));
    let id = id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    let path = operation.path.replace("{id}", &id.unwrap_or_default());
    let _ = write!(curl, "http://127.0.0.1:8080{path}");
    if operation.role().is_some() {
        curl.push_str(" \\\n  -H \"Authorization: Bearer $PACELINE_KEY\"");
    }
    if let Some(schema) = sent {
        let body = pretty(&example(document, schema)).replace('\'', "'\\''");
        let _ = write!(
            curl,
            " \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"
        );
    }
    let _ = write!(out, "<h5>Request</h5><pre>{}</pre>", escape(&curl));
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn fields_html(out: &mut String, document: &Value, schema: &Value) {
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        for part in parts {
            fields_html(out, document, resolve(document, part));
        }
        return;
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|w| format!("<code>{}</code>", escape(w)))
            .collect();
        let _ = write!(out, "<p class=\"words\">{}</p>", words.join(" "));
        return;
    }
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    out.push_str("<table>");
    for (name, field) in fields {
        let needed = required.iter().any(|r| r.as_str() == Some(name));
        let description = description(field);
        row_html(out, document, name, field, needed, description, "");
    }
    out.push_str("</table>");
}

fn row_html(
    out: &mut String,
    document: &Value,
    name: &str,
    schema: &Value,
    required: bool,
    description: &str,
    place: &str,
) {
    let mut notes = Vec::new();
    if required {
        notes.push("<span class=\"required\">required</span>".to_owned());
    }
    if place == "header" {
        notes.push("header".to_owned());
    }
    let bound = |key: &str| schema.get(key).filter(|v| v.is_number());
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => notes.push(format!("{min} to {max}")),
        (Some(min), None) => notes.push(format!("at least {min}")),
        (None, Some(max)) => notes.push(format!("at most {max}")),
        (None, None) => {}
    }
    if let Some(default) = schema.get("default").filter(|d| !d.is_object() && !d.is_array()) {
        notes.push(format!("default <code>{}</code>", escape(&default.to_string())));
    }
    let words = resolve(document, schema).get("enum").and_then(Value::as_array);
    if let Some(words) = words.filter(|_| place == "query") {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        notes.push(escape(&words.join(", ")));
    }
    let _ = write!(
        out,
        "<tr><td><code>{}</code><br><small>{}</small></td><td>{}{}</td></tr>",
        escape(name),
        type_html(schema),
        code(description),
        if notes.is_empty() {
            String::new()
        } else {
            format!("<br><small>{}</small>", notes.join(" · "))
        },
    );
}

fn type_html(schema: &Value) -> String {
    let null = if nullable(schema) { " or null" } else { "" };
    if let Some(name) = name_of(schema) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    if let Some(any) = alternatives(schema) {
        let all: Vec<String> = any.into_iter().map(type_html).collect();
        return format!("{}{null}", all.join(" or "));
    }
    match kind(schema) {
        "array" => format!(
            "list of {}{null}",
            schema.get("items").map(type_html).unwrap_or_default()
        ),
        "object" => match schema.get("additionalProperties").filter(|v| v.is_object()) {
            Some(values) => format!("object of {}{null}", type_html(values)),
            None => format!("object{null}"),
        },
        other => {
            let format = match schema.get("format").and_then(Value::as_str) {
                Some("date-time") => " (RFC 3339)",
                Some("uuid") => " (UUID)",
                _ => "",
            };
            format!("{}{format}{null}", escape(other))
        }
    }
}

fn problems_html(out: &mut String) {
    out.push_str(
        "<section id=\"problems\"><h2>problems</h2><p>Every error has <code>Content-Type: application/problem+json</code> \
         (RFC 9457). <code>type</code> says which of these it is.</p><table>",
    );
    for problem in Kind::ALL {
        let _ = write!(
            out,
            "<tr id=\"problem-{slug}\"><td><code>{status}</code></td><td><code>/problems/{slug}</code><br><b>{title}.</b> {advice}</td></tr>",
            slug = problem.slug(),
            status = problem.status().as_u16(),
            title = escape(problem.title()),
            advice = code(problem.advice()),
        );
    }
    out.push_str("</table></section>");
}

fn schemas_html(out: &mut String, document: &Value) {
    out.push_str("<section id=\"schemas\"><h2>schemas</h2>");
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    for (name, schema) in schemas.into_iter().flatten() {
        let description = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let _ = write!(
            out,
            "<article class=\"schema\" id=\"schema-{0}\"><h3>{0}</h3>{1}",
            escape(name),
            prose(description)
        );
        fields_html(out, document, schema);
        out.push_str("</article>");
    }
    out.push_str("</section>");
}
