//! What is found in which files.

use super::super::environment::{CARGO, GO, GO_BUILD, MAVEN, PYTHON};
use super::*;

fn files(all: &[(&str, &str)]) -> Files {
    let entry =
        |(path, _): &(&str, &str)| Entry { mode: "100644".into(), object: "0".into(), path: (*path).to_owned() };
    let texts =
        all.iter().filter(|(path, _)| is_manifest(path)).map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Files { entries: all.iter().map(entry).collect(), texts: texts.collect() }
}

fn everything() -> Tooling {
    Tooling::with(&["python3", "node", "npm", "cargo", "go", "java", "mvn", "gradle"])
}

fn titles(all: &[(&str, &str)]) -> Vec<String> {
    detect(&files(all), &everything()).parts.into_iter().map(|part| part.title).collect()
}

fn only(all: &[(&str, &str)]) -> Part {
    let plan = detect(&files(all), &everything());
    assert_eq!((plan.parts.len(), plan.notes.len()), (1, 0), "{plan:?}");
    plan.parts.into_iter().next().unwrap()
}

#[test]
fn python_is_found_by_lock_files_lists_and_tables() {
    assert_eq!(titles(&[("uv.lock", ""), ("pyproject.toml", "")]), ["uv sync"]);
    assert_eq!(titles(&[("poetry.lock", ""), ("pyproject.toml", "")]), ["poetry install"]);
    assert_eq!(titles(&[("requirements.txt", "six\n"), ("setup.py", "")]), ["pip install -r requirements.txt"]);
    assert!(titles(&[("pyproject.toml", "[tool.black]\n"), ("tests/test_a.py", "")]).is_empty(), "nothing to install");
    assert!(titles(&[("docs/conf.py", ""), ("README.md", "")]).is_empty());

    let table = "[project]\nname = \"a\"\ndependencies = [\"requests>=2\", \"b @ file:///etc\"]\n[project.optional-dependencies]\ntest = [\"pytest\"]\ndocs = [\"sphinx\"]\n\
                 [dependency-groups]\ndev = [\"ruff\", {include-group = \"lint\"}]\nlint = [\"mypy\"]\n";
    let part = only(&[("pyproject.toml", table), ("src/a/__init__.py", "")]);
    assert_eq!(part.written[".ticketwright-requirements.txt"], "mypy\npytest\nrequests>=2\nruff\n");
    assert!(
        part.online.contains("--only-binary :all: -r .ticketwright-requirements.txt")
            && part.online.contains("'/w' '/w/src'")
    );
    // No package runs where the registries are in reach: nothing starts the interpreter after they are there.
    let (_, after) = part.online.split_once("-r .ticketwright-requirements.txt").unwrap();
    assert!(!after.contains("python -") && part.online.contains("pytest=="), "{}", part.online);
    assert_eq!((part.deps, part.root.as_str()), (vec![PYTHON.to_owned()], ""));

    let cfg = "[options]\ninstall_requires =\n    six\n    attrs>=20\n[options.extras_require]\ndev = pytest\ndocs = sphinx\n";
    assert_eq!(only(&[("setup.cfg", cfg)]).written[".ticketwright-requirements.txt"], "six\nattrs>=20\npytest\n");
    let pipenv = r#"{"default":{"six":{"version":"==1.16.0"}},"develop":{"pytest":{"version":"==8.0","markers":"python_version >= '3.8'"}}}"#;
    assert_eq!(
        only(&[("Pipfile.lock", pipenv)]).written[".ticketwright-requirements.txt"],
        "pytest==8.0; python_version >= '3.8'\nsix==1.16.0\n"
    );
    let poetry = "[tool.poetry.dependencies]\npython = \"^3.9\"\nsix = \"^1.16\"\nold = \"^0.3.1\"\nb = {version = \"~2.1\"}\nany = \"*\"\n";
    assert_eq!(
        only(&[("pyproject.toml", poetry)]).written[".ticketwright-requirements.txt"],
        "any\nb>=2.1,==2.1.*\nold>=0.3.1,<0.4\nsix>=1.16,<2\n"
    );
    let part =
        only(&[("api/requirements/base.txt", "six\n"), ("api/requirements/dev.txt", "-r base.txt\n-e ..\npytest\n")]);
    assert_eq!(
        (part.root.as_str(), part.written["api/requirements/dev.txt"].as_str()),
        ("api", "-r base.txt\npytest\n")
    );
    assert!(part.notes[0].contains("-e .."));

    let in_code = detect(&files(&[("setup.py", "setup(install_requires=['six'])")]), &everything());
    assert!(in_code.parts.is_empty() && in_code.notes[0].contains("requirements.txt"), "{:?}", in_code.notes);
    let two = detect(&files(&[("api/requirements.txt", "six"), ("job/requirements.txt", "six")]), &everything());
    assert!(
        two.parts.len() == 1 && two.notes[0].contains("of job are not installed, only those of api"),
        "{:?}",
        two.notes
    );
    assert!(
        brings_pytest(&files(&[("requirements.txt", "six\n")])) && !brings_pytest(&files(&[("pyproject.toml", "")]))
    );
}

#[test]
fn lists_of_requirements_let_pip_build_nothing() {
    let list = "six==1.16.0 \\\n    --hash=sha256:ab  # why\n-r requirements-more.in\n--pre\n# --no-binary x\\\n-i https://pypi.acme.example/simple\n";
    let wrong = [
        "--no-binary :all:",
        "--only-binary :none:",
        "--no-bin :all:",
        "--pre --no-binary=a",
        "--no-\\\nbinary a",
        "attrs\u{c}--no-binary a",
        "-r pyproject.toml",
        "-rpyproject.toml",
        "  --no-binary a",
        "-e .",
    ];
    let more = wrong.join("\n");
    let all = [
        ("requirements.txt", list),
        ("requirements-more.in", more.as_str()),
        ("pyproject.toml", "--no-binary :all:\n"),
    ];
    let part = only(&all);
    let expected =
        "six==1.16.0     --hash=sha256:ab\n-r requirements-more.in\n--pre\n-i https://pypi.acme.example/simple\n";
    assert_eq!(part.written["requirements.txt"], expected);
    assert_eq!(part.written["requirements-more.in"], "attrs\n", "{:?}", part.notes);

    let injected = "[project]\nname = \"a\"\ndependencies = [\"six\\n--no-binary :all:\", \" --no-binary a\"]\n";
    assert_eq!(only(&[("pyproject.toml", injected)]).written[".ticketwright-requirements.txt"], "six\n");

    let plugins = "[tool.poetry]\nname = \"a\"\n[tool.poetry.requires-plugins]\nevil = \"*\"\n[tool.poetry.dependencies]\nsix = \"*\"\n";
    let part = only(&[("pyproject.toml", plugins), ("poetry.lock", "")]);
    assert!(!part.written["pyproject.toml"].contains("evil") && part.written["pyproject.toml"].contains("six"));
}

#[test]
fn javascript_is_found_by_lock_files() {
    let some = r#"{"dependencies":{"a":"1"}}"#;
    assert_eq!(titles(&[("package.json", some), ("package-lock.json", "")]), ["npm ci"]);
    assert_eq!(titles(&[("package.json", some)]), ["npm install"]);
    assert!(titles(&[("package.json", r#"{"scripts":{"test":"node --test"}}"#)]).is_empty(), "nothing to install");
    let yarn = only(&[("package.json", some), ("yarn.lock", "# yarn lockfile v1\n")]);
    assert!(
        yarn.online.contains(
            "npx --yes yarn@1.22.22 install --ignore-scripts --non-interactive --no-progress --frozen-lockfile"
        )
    );
    let berry = only(&[("package.json", some), ("yarn.lock", "__metadata:\n  version: 8\n")]);
    assert!(
        berry.online.contains("@yarnpkg/cli-dist@4.12.0 install --mode=skip-build --immutable ")
            && berry.online.contains("YARN_NODE_LINKER=node-modules")
    );
    let named = |version: &str| {
        let package = format!(r#"{{"dependencies":{{"a":"1"}},"packageManager":"yarn@{version}"}}"#);
        only(&[("package.json", &package), ("yarn.lock", "__metadata:\n  version: 6\n")]).online
    };
    assert!(named("4.5.1").contains("cli-dist@4.5.1 ") && named("3.8.0; rm -rf /").contains("cli-dist@3.8.7 "));
    let goes_first =
        |version: &str| named(version).contains("cd /run/caches/first && npx --yes @yarnpkg/cli-dist@4.18.1 ");
    assert!(goes_first("4.13.0") && !goes_first("4.14.0") && !goes_first("3.8.7"));
    let files = [
        ("package.json", some),
        ("yarn.lock", "__metadata:\n"),
        (".yarnrc.yml", "nodeLinker: pnp\n"),
        (".yarn/patches/a-npm-1.0.0.patch", ""),
        (".yarn/plugins/@yarnpkg/plugin-x.cjs", ""),
        (".yarn/releases/yarn-4.0.0.cjs", ""),
    ];
    let all = [
        ".yarn/patches/a-npm-1.0.0.patch",
        ".yarn/plugins/@yarnpkg/plugin-x.cjs",
        ".yarnrc.yml",
        "package.json",
        "yarn.lock",
    ];
    assert_eq!(only(&files).manifests.unwrap(), all);
    let pnpm = |package: &str, lock: &str| only(&[("package.json", package), ("pnpm-lock.yaml", lock)]).online;
    assert!(pnpm(some, "lockfileVersion: '6.0'\n").starts_with("npx --yes pnpm@8.15.9 install --ignore-scripts"));
    assert!(pnpm(r#"{"dependencies":{"a":"1"},"packageManager":"pnpm@9.1.2+sha512.ab"}"#, "").contains("pnpm@9.1.2 "));
    assert!(pnpm(r#"{"dependencies":{"a":"1"},"packageManager":"pnpm@9; rm -rf /"}"#, "").contains("pnpm@9.15.9 "));

    // A workspace is one part; a second project is another.
    let workspace =
        [("package.json", r#"{"workspaces":["a/*"]}"#), ("package-lock.json", ""), ("a/b/package.json", some)];
    let part = only(&workspace);
    assert_eq!(part.manifests.unwrap(), ["a/b/package.json", "package-lock.json", "package.json"]);
    let two =
        [("web/package.json", some), ("web/package-lock.json", ""), ("api/package.json", some), ("api/yarn.lock", "")];
    assert_eq!(titles(&two), ["yarn install in api", "npm ci in web"]);
    assert!(
        titles(&[("package.json", some), ("node_modules/a/index.js", "")]).is_empty(),
        "packages are in the repository"
    );
}

#[test]
fn rust_go_and_java_are_found_by_manifests() {
    let cargo = only(&[
        ("Cargo.toml", "[dependencies]\nitoa = \"1\"\n"),
        ("Cargo.lock", ""),
        ("src/lib.rs", "x"),
        ("build.rs", ""),
    ]);
    assert_eq!((cargo.title.as_str(), cargo.deps), ("cargo fetch", vec![CARGO.to_owned()]));
    assert_eq!(cargo.placeholders, ["src/lib.rs", "build.rs"]);
    assert!(cargo.online.contains("cargo fetch --locked || cargo fetch"));
    assert!(
        titles(&[("Cargo.toml", "[dependencies]\na = { path = \"a\" }\n"), ("a/Cargo.toml", "[package]\n")]).is_empty()
    );
    assert!(
        titles(&[("Cargo.toml", "[dependencies]\na = \"1\"\n"), (".cargo/config.toml", "[source.vendored-sources]\n")])
            .is_empty()
    );

    let go = detect(
        &files(&[("go.mod", "module a\nrequire b v1\n"), ("go.sum", ""), ("x/go.mod", "module x\n")]),
        &everything(),
    );
    let made: Vec<_> = go.parts.iter().map(|part| (part.title.as_str(), part.deps[0].as_str())).collect();
    assert_eq!(made, [("go build std", GO_BUILD), ("go mod download", GO)]);
    assert!(!go.parts[1].online.contains("/w/x"));
    assert_eq!(titles(&[("go.mod", "module a\nrequire b v1\n"), ("vendor/modules.txt", "")]), ["go build std"]);

    let module = "<packaging>pom</packaging><dependency>junit-jupiter</dependency>";
    let maven = only(&[("pom.xml", module), ("app/pom.xml", "<x/>"), ("app/src/main/java/A.java", "")]);
    assert_eq!(maven.deps, [MAVEN]);
    assert!(maven.written.is_empty(), "what is there while the registries are in reach is what can run then");
    let trial = maven.trial.unwrap();
    assert_eq!(trial.written.keys().collect::<Vec<_>>(), ["app/src/test/java/TicketwrightSetupTest.java"]);
    assert!(trial.script.contains("mvn --offline") && !trial.fetch.contains(" test"), "{trial:?}");
    let gradle = only(&[
        ("settings.gradle.kts", ""),
        ("app/build.gradle.kts", ""),
        ("buildSrc/src/main/kotlin/conventions.gradle.kts", ""),
        ("buildSrc/src/main/java/Conventions.java", ""),
        ("gradle/libs.versions.toml", ""),
        ("app/src/main/java/Shop.java", ""),
    ]);
    assert_eq!((gradle.title.as_str(), gradle.manifests.unwrap().len()), ("gradle resolve", 5), "all but the source");
}

#[test]
fn tools_that_are_missing_are_named_and_stop_nothing_else() {
    let all = [
        ("build.gradle", ""),
        ("go.mod", "module a\n"),
        ("package.json", r#"{"dependencies":{"a":"1"}}"#),
        ("requirements.txt", "six\n"),
    ];
    let plan = detect(&files(&all), &Tooling::with(&["python3"]));
    assert_eq!(plan.parts.len(), 1);
    assert_eq!(plan.notes.len(), 3);
    assert!(
        plan.notes.iter().any(|note| note.starts_with("build.gradle needs gradle, which is not installed")),
        "{:?}",
        plan.notes
    );
}

#[test]
fn own_commands_replace_everything_and_an_empty_list_turns_it_off() {
    let plan = own(&["make deps".to_owned()], &everything());
    let [part] = &plan.parts[..] else { panic!("{plan:?}") };
    assert!(part.manifests.is_none() && part.node_modules && part.deps == ["/deps"]);
    assert!(part.online.ends_with("rm -rf /deps/python\nmake deps"));
    assert!(own(&[], &everything()).parts.is_empty() && own(&[" ".to_owned()], &everything()).parts.is_empty());
}

#[test]
fn programs_among_the_manifests_are_the_bases() {
    let with = |all: &[(&str, &str)]| {
        let mut files = files(all);
        for (entry, (_, text)) in files.entries.iter_mut().zip(all) {
            entry.object = (*text).to_owned();
        }
        files
    };
    let base =
        with(&[(".npmrc", "a=1"), ("package.json", "{}"), ("build.gradle", "base"), (".cargo/config.toml", "base")]);
    let tree = with(&[
        (".npmrc", "a=2"),
        ("package.json", "{1}"),
        ("build.gradle", "base"),
        (".cargo/config.toml", "rustc-wrapper"),
        (".pnpmfile.cjs", "fetch()"),
        ("web/.yarnrc", "yarn-path ./x"),
    ]);
    let (files, replaced) = with_programs_of(&base, tree);
    assert_eq!(replaced, [".npmrc", ".cargo/config.toml", ".pnpmfile.cjs", "web/.yarnrc"]);
    assert_eq!((files.text(".npmrc"), files.text("package.json")), ("a=1", "{1}"));
    assert!(!files.has(".pnpmfile.cjs") && !files.has("web/.yarnrc") && !files.texts.contains_key(".pnpmfile.cjs"));
    assert!(files.entries.iter().any(|entry| entry.path == ".cargo/config.toml" && entry.object == "base"));
}

#[test]
fn a_pom_may_list_more_dependencies_and_a_catalogue_other_versions() {
    let pom = |dependencies: &str, plugin: &str| {
        format!(
            "<project>\n  <dependencies>\n{dependencies}  </dependencies>\n  <build><plugins><plugin><artifactId>x</artifactId>\
             <dependencies>{plugin}</dependencies></plugin></plugins></build>\n</project>"
        )
    };
    let junit = "    <dependency>\n<groupId>org.junit</groupId><artifactId>junit</artifactId>\n<version>4.13</version></dependency>\n";
    let six = "<dependency><groupId>a.b</groupId><artifactId>six</artifactId><scope>test</scope></dependency>\n";
    let base = pom(junit, "");
    assert!(does_the_same("a/pom.xml", &base, &pom(&format!("{junit}{six}"), "")));
    assert!(!does_the_same("a/pom.xml", &base, &pom(junit, six)), "of a plugin");
    assert!(!does_the_same("a/pom.xml", &base, &base.replace("<build>", "<build><extensions/>")));
    let hidden = junit.replace("4.13", "4.13</version><exclusions/><version>");
    assert!(!does_the_same("a/pom.xml", &base, &pom(&hidden, "")), "only plain fields are left out");
    assert!(!does_the_same("build.gradle", "a", "b"));

    let catalogue =
        |version: &str, plugin: &str| format!("[versions]\na = \"{version}\"\n[plugins]\nb = \"{plugin}\"\n");
    let (base, newer) = (catalogue("1", "x:1"), catalogue("2", "x:1"));
    assert!(does_the_same("gradle/libs.versions.toml", &base, &newer));
    assert!(!does_the_same("gradle/libs.versions.toml", &base, &catalogue("1", "evil:1")), "plugins are programs");
    assert!(!does_the_same("gradle/libs.versions.toml", &base, "[versions"));
}
