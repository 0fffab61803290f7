//! REST: search for repositories and code, over default branches, as the REST API's (older) code search.
//! <https://docs.github.com/en/rest/search>, <https://docs.github.com/en/search-github/searching-on-github/searching-code>

use std::cmp::Reverse;
use std::collections::HashSet;

use serde_json::{Value, json};

use super::hub::{Hub, Place};
use super::reply::{Answer, Call, Failure, Reply, encode_path};
use super::rest_repositories::{language_of, updated};
use super::state::Repository;

/// GitHub gives out no result beyond this.
const RESULT_CAP: usize = 1_000;
/// Longest query, qualifiers left out.
const QUERY_LIMIT: usize = 256;
/// Bigger files are not searched.
const FILE_LIMIT: u64 = 384 * 1024;

/// A search box's content taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    /// Words and quoted phrases that must all be there.
    words: Vec<String>,
    /// `repo:acme/shop-api`, in order.
    qualifiers: Vec<(String, String)>,
}

const QUALIFIERS: [&str; 17] = [
    "repo",
    "org",
    "user",
    "path",
    "filename",
    "extension",
    "language",
    "in",
    "size",
    "fork",
    "archived",
    "topic",
    "is",
    "pushed",
    "created",
    "stars",
    "sort",
];

impl Query {
    fn parse(text: &str) -> Self {
        let mut query = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let quoted_at = rest.find('"');
            let space_at = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (token, after) = match quoted_at {
                Some(at) if at < space_at => match rest[at + 1..].find('"') {
                    Some(end) => rest.split_at(at + end + 2),
                    None => (rest, ""),
                },
                _ => rest.split_at(space_at),
            };
            rest = after.trim_start();
            query.add(token);
        }
        query
    }

    fn add(&mut self, token: &str) {
        if let Some((name, value)) = token.split_once(':')
            && QUALIFIERS.contains(&name)
        {
            self.qualifiers.push((name.to_owned(), value.trim_matches('"').to_owned()));
        } else if let Some(phrase) = token.strip_prefix('"') {
            self.words.extend(Some(phrase.trim_end_matches('"').to_owned()).filter(|phrase| !phrase.is_empty()));
        } else if !matches!(token, "AND" | "OR" | "NOT") {
            // The REST search splits at every character that is not part of a name.
            let words = token.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
            self.words.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.qualifiers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn query_of(call: &Call) -> Result<Query, Failure> {
    let text = call.query("q").ok_or_else(|| Failure::field("Search", "q", "missing"))?;
    let query = Query::parse(text);
    if query.words.iter().map(String::len).sum::<usize>() > QUERY_LIMIT {
        return Err(Failure::rule("Search", "The search is longer than 256 characters."));
    }
    Ok(query)
}

/// Repositories in the query's scope that the caller sees.
fn scope(hub: &Hub, call: &Call, query: &Query) -> Result<Vec<(Repository, Place)>, Failure> {
    let all: Vec<Repository> = hub.state().repositories.values().cloned().collect();
    let owners: Vec<&str> = query.all("org").chain(query.all("user")).collect();
    let names: Vec<&str> = query.all("repo").collect();
    let known = |owner: &str| hub.state().users.contains_key(&owner.to_ascii_lowercase());
    let unknown_repository = names.iter().any(|name| hub.place(name).is_none());
    if unknown_repository || (!owners.is_empty() && !owners.iter().any(|owner| known(owner))) {
        let text = "The listed users and repositories cannot be searched either because the resources do not exist or you do not have permission to view them.";
        return Err(Failure {
            status: 422,
            message: "Validation Failed".into(),
            errors: Some(json!([{"message": text, "resource": "Search", "field": "q", "code": "invalid"}])),
        });
    }
    let within = |repository: &Repository| {
        let full = repository.full_name();
        let unscoped = owners.is_empty() && names.is_empty();
        unscoped
            || owners.iter().any(|owner| owner.eq_ignore_ascii_case(&repository.owner))
            || names.iter().any(|name| name.eq_ignore_ascii_case(&full))
    };
    let placed = all.into_iter().filter(within).filter_map(|repository| {
        let place = hub.place(&repository.full_name())?;
        Some((repository, place))
    });
    Ok(placed.filter(|(_, place)| call.sees(hub, place)).collect())
}

fn results(hub: &Hub, call: &Call, total: usize, items: Vec<Value>) -> Answer {
    let (page, size) = call.page();
    if (page - 1) * size >= RESULT_CAP {
        return Err(Failure::new(422, "Only the first 1000 search results are available"));
    }
    let capped: Vec<Value> = items.into_iter().take(RESULT_CAP).collect();
    let (page, link) = call.paged(capped, &hub.base);
    Ok(Reply::ok(json!({"total_count": total, "incomplete_results": false, "items": page})).link(link))
}

/// `GET /search/repositories`: words in name and description.
pub(super) async fn repositories(hub: &Hub, call: &Call) -> Answer {
    let query = query_of(call)?;
    let mut found = Vec::new();
    for (repository, place) in scope(hub, call, &query)? {
        let text = format!("{} {}", repository.name, repository.description).to_lowercase();
        if !query.words.iter().all(|word| text.contains(&word.to_lowercase())) {
            continue;
        }
        if let Some(language) = query.all("language").next() {
            let files = place.git.tree(&repository.default_branch, true).await.unwrap_or_default();
            if !files.iter().filter_map(|file| language_of(&file.path)).any(|own| own.eq_ignore_ascii_case(language)) {
                continue;
            }
        }
        let mut view = hub.repository_view(&repository);
        view["score"] = json!(1.0);
        found.push((updated(&repository), view));
    }
    if call.query("sort") == Some("updated") {
        found.sort_by(|one, other| other.0.cmp(&one.0));
    }
    results(hub, call, found.len(), found.into_iter().map(|(_, view)| view).collect())
}

/// `GET /search/code`: files whose content has all words (or whose path has, with `in:path`).
pub(super) async fn code(hub: &Hub, call: &Call) -> Answer {
    let query = query_of(call)?;
    let by_name = query.all("filename").chain(query.all("extension")).chain(query.all("path")).next().is_some();
    if query.words.is_empty() && !by_name {
        return Err(Failure::rule("Search", "The search must contain at least one search term."));
    }
    let mut found = Vec::new();
    for (repository, place) in scope(hub, call, &query)? {
        let Some(commit) = place.git.resolve(&repository.default_branch).await else { continue };
        let view = hub.repository_view(&repository);
        let candidates = candidates(&query, &place, &commit).await;
        for entry in place.git.tree(&commit, true).await? {
            if entry.kind != "blob" || entry.size.unwrap_or_default() > FILE_LIMIT || !names_fit(&query, &entry.path) {
                continue;
            }
            if candidates.as_ref().is_some_and(|candidates| !candidates.contains(&entry.path)) {
                continue;
            }
            let content = place.git.file(&commit, &entry.path).await.unwrap_or_default();
            if content.contains(&0) {
                continue;
            }
            let content = String::from_utf8_lossy(&content);
            let Some(score) = score(&query, &entry.path, &content) else { continue };
            let path = encode_path(&entry.path);
            let api = hub.api(&format!("/repos/{}", place.full));
            let url = format!("{api}/contents/{path}?ref={commit}");
            let mut item = json!({
                "name": entry.path.rsplit('/').next(),
                "path": entry.path,
                "sha": entry.sha,
                "url": url,
                "git_url": format!("{api}/git/blobs/{}", entry.sha),
                "html_url": format!("{}/{}/blob/{commit}/{path}", hub.base, place.full),
                "repository": view,
                "score": 1.0,
            });
            if call.accepts("text-match") {
                item["text_matches"] = text_matches(&query, &content, &url);
            }
            found.push((score, item));
        }
    }
    // Best match first; equals in the order of repository and path.
    found.sort_by_key(|(score, _)| Reverse(*score));
    results(hub, call, found.len(), found.into_iter().map(|(_, item)| item).collect())
}

/// Files that `git grep` finds all words in, so that the others need not be read; `None` when paths count too.
async fn candidates(query: &Query, place: &Place, commit: &str) -> Option<HashSet<String>> {
    if query.words.is_empty() || query.all("in").any(|value| value.contains("path")) {
        return None;
    }
    let mut args = vec!["grep", "-z", "-l", "-i", "-I", "-F", "--all-match"];
    for word in &query.words {
        args.extend(["-e", word]);
    }
    args.push(commit);
    // Exit status 1 means that nothing was found.
    let out = place.git.bytes(&args).await.unwrap_or_default();
    let names = String::from_utf8_lossy(&out).into_owned();
    let path = |name: &str| name.split_once(':').map(|(_, path)| path.to_owned());
    Some(names.split('\0').filter_map(path).collect())
}

fn names_fit(query: &Query, path: &str) -> bool {
    let path = path.to_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let directory = |wanted: &str| {
        let wanted = wanted.trim_matches('/').to_lowercase();
        wanted.is_empty() || path.starts_with(&format!("{wanted}/")) || path == wanted
    };
    query.all("filename").all(|wanted| name.contains(&wanted.to_lowercase()))
        && query.all("extension").all(|wanted| extension == wanted.trim_start_matches('.').to_lowercase())
        && query.all("path").all(directory)
        && query.all("language").all(|wanted| language_of(&path).is_some_and(|own| own.eq_ignore_ascii_case(wanted)))
}

/// How often the words occur; `None` when one is missing.
fn score(query: &Query, path: &str, content: &str) -> Option<usize> {
    let places: Vec<&str> = query.all("in").flat_map(|value| value.split(',')).collect();
    let (in_file, in_path) = (places.is_empty() || places.contains(&"file"), places.contains(&"path"));
    let (path, content) = (path.to_lowercase(), content.to_lowercase());
    let mut sum = 0;
    for word in &query.words {
        let word = word.to_lowercase();
        let in_content = if in_file { content.matches(&word).count() } else { 0 };
        let in_name = usize::from(in_path && path.contains(&word));
        if in_content + in_name == 0 {
            return None;
        }
        sum += in_content + in_name;
    }
    Some(sum)
}

/// Up to two pieces of the file around matches, with the places of the words in them (in characters).
fn text_matches(query: &Query, content: &str, url: &str) -> Value {
    let lines: Vec<&str> = content.lines().collect();
    let has = |line: &str| query.words.iter().any(|word| line.to_lowercase().contains(&word.to_lowercase()));
    let mut fragments = Vec::new();
    let mut next = 0;
    for (at, line) in lines.iter().enumerate() {
        if fragments.len() == 2 || at < next || !has(line) {
            continue;
        }
        let (from, to) = (at.saturating_sub(2), (at + 3).min(lines.len()));
        next = to;
        let fragment: String = lines[from..to].join("\n").chars().take(600).collect();
        let lower = fragment.to_lowercase();
        let mut matches = Vec::new();
        for word in &query.words {
            for (start, text) in lower.match_indices(&word.to_lowercase()) {
                let begin = lower[..start].chars().count();
                matches.push(json!({"text": text, "indices": [begin, begin + text.chars().count()]}));
            }
        }
        fragments.push(json!({
            "object_url": url,
            "object_type": "FileContent",
            "property": "content",
            "fragment": fragment,
            "matches": matches,
        }));
    }
    Value::Array(fragments)
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn query_is_split_into_words_phrases_and_qualifiers() {
        let query = Query::parse("apply_discount( \"line total\" org:acme path:src language:\"Python\" http://x");
        assert_eq!(query.words, ["apply_discount", "line total", "http", "x"]);
        let qualifier = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            query.qualifiers,
            [qualifier("org", "acme"), qualifier("path", "src"), qualifier("language", "Python")]
        );
    }
}
