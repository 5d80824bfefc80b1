//! `serve`: the page in a browser.

use super::{ModelArgs, out};
use crate::error::{Error, Result};
use crate::serve::app::{App, Setup, Typed};
use crate::serve::http::{self, Access};
use crate::shell::word;
use crate::shipped::TOYWORLD;
use std::io::Write;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::PathBuf;

const EXAMPLES: &str = r#"Examples:
  personascope serve                        the embedded model and five of its fine-tunes; open the address that is printed
  personascope serve --dir notebooks-data --adapter warm=adapters/warm --adapter cold=adapters/cold
  personascope serve --model Qwen/Qwen2.5-0.5B-Instruct --vector axis.safetensors --vector evil.gguf
  personascope serve --card mine.toml --roles roles.jsonl --port 0
  ssh -L 7340:127.0.0.1:7340 machine                         and there: personascope serve; the page of another machine

The page has five parts: a chat whose tokens are coloured by their projection, steering side by side with a dose strip, the
map of persona space, base and adapters next to each other, and the results of runs in --dir with their tables, figures and
commands. A line on stdout is its address, with a token that is drawn anew at every start.

Only this machine is listened to, only requests with the token are answered, and only pages of this server may ask. Files are
read from --dir and from what is named here; vectors that the page saves are written to DIR/vectors, and nothing else is.
Ctrl-C ends it within a second; a second Ctrl-C at once."#;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A file with vectors to steer and to read with, in any format; may come several times
    #[arg(long = "vector", value_name = "FILE")]
    vectors: Vec<PathBuf>,
    /// A persona card to talk to; may come several times
    #[arg(long = "card", value_name = "FILE")]
    cards: Vec<PathBuf>,
    /// Roles of the map, in the place of the shipped ones
    #[arg(long, value_name = "FILE")]
    roles: Option<PathBuf>,
    /// Folder with the results of runs; saved vectors go to its folder `vectors`
    #[arg(long = "dir", value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where to listen; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 7340)]
    port: u16,
    /// On which address to listen
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Let other machines ask: whoever has the token may read and use what the page can
    #[arg(long)]
    allow_remote: bool,
    /// The token of the address, in the place of a random one; processes of this machine can see it here
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

pub fn serve(mut args: ServeArgs) -> Result<bool> {
    if args.model.model == TOYWORLD {
        args.model.adapters.or_shipped();
    }
    let listener = listen(&args.host, args.port, args.allow_remote)?;
    let bound = listener.local_addr().map_err(|e| Error::io("listen on", &args.host, e))?;
    let token = args.token.map_or_else(random_token, Ok)?;
    let access = Access::new(&token, &args.host, bound)?;
    if !bound.ip().is_loopback() {
        eprintln!(
            "warning: other machines can reach the page, and what it says is not encrypted; whoever has the token"
        );
        eprintln!("         may use the model and read the results; `ssh -L` is the safe way to another machine");
    }
    let model = args.model.load()?;
    let threads = args.model.work.threads();
    let typed = typed(&args.model);
    let setup =
        Setup { folder: args.folder, vectors: args.vectors, cards: args.cards, roles: args.roles, threads, typed };
    let app = App::open(model, setup)?;
    {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", access.address(&args.host)).and_then(|()| stdout.flush()).map_err(out::failed)?;
    }
    eprintln!("the page is at the address above; Ctrl-C ends it");
    let served = http::run(app.clone(), listener, access);
    // A pass of a large model takes its time, and its result is wanted by nobody: the end of the program ends it.
    std::mem::forget(app);
    served.map(|()| true)
}

/// The options that say which model this is, for the command lines of the page.
fn typed(args: &ModelArgs) -> Typed {
    let mut all = Vec::new();
    let mut add = |option: &str, value: &str| all.extend([option.to_string(), word(value)]);
    if args.model != TOYWORLD {
        add("--model", &args.model);
    }
    for (option, value, usual) in
        [("--device", &args.computing.device, "cpu"), ("--dtype", &args.computing.dtype, "f32")]
    {
        if value != usual {
            add(option, value);
        }
    }
    all.extend(args.adapters.typed().iter().map(|w| word(w)));
    let line = |words: &[String]| words.iter().map(|word| format!(" {word}")).collect::<String>();
    let adapters = args.adapters.typed_adapters();
    let adapters = adapters.iter().map(|words| line(&words.each_ref().map(|w| word(w)))).collect();
    Typed { model: line(&all), adapters }
}

/// Takes the port before the model is loaded, which may take long.
fn listen(host: &str, port: u16, allow_remote: bool) -> Result<TcpListener> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs().map(|all| all.collect::<Vec<_>>()).unwrap_or_default();
    if found.is_empty() {
        let what = format!("`{host}` is no address of this machine, nor a name for one");
        return Err(Error::refused(what, "leave --host out for this machine alone: 127.0.0.1"));
    }
    if !allow_remote && !found.iter().all(|a| a.ip().is_loopback()) {
        let what = format!("other machines could reach the page at `{host}`");
        let hint = "leave --host out and use `ssh -L`, or add --allow-remote if the network may have it";
        return Err(Error::refused(what, hint));
    }
    TcpListener::bind(&found[..]).map_err(|e| {
        let hint = match e.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another page may be open there: end it, or take a free port with --port 0"
            }
            std::io::ErrorKind::PermissionDenied => "take a port above 1023, or a free one with --port 0",
            _ => "leave --host out for this machine alone, and take a free port with --port 0",
        };
        Error::refused(format!("cannot listen on {host}:{port}: {e}"), hint)
    })
}

/// 128 bits of the system's randomness, in hexadecimal.
fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| {
        let hint = "give a token of your own with --token: 16 letters or more that nobody can guess";
        Error::refused(format!("the system gives no random numbers for a token: {e}"), hint)
    })?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_model_are_said_again_as_a_shell_takes_them() {
        use clap::Parser;
        #[derive(Parser)]
        struct Only {
            #[command(flatten)]
            model: ModelArgs,
        }
        let said = |args: &[&str]| typed(&Only::parse_from([&["x"], args].concat()).model);
        assert_eq!(said(&[]).options(None), "");
        assert_eq!(said(&["--threads", "3", "--device", "cpu"]).options(Some(0)), "");
        let model = ["--model", "my model", "--dtype", "bf16", "--random-weights", "4"];
        let adapters = ["--adapter", "a=x/y", "--adapter", "b=it's", "--adapter", "character0-chat-s0"];
        let all = said(&[&model[..], &adapters].concat());
        assert_eq!(all.options(None), " --model 'my model' --dtype bf16 --random-weights 4");
        let own = |i| all.options(Some(i)).strip_prefix(&all.model).unwrap().to_string();
        assert_eq!(
            [0, 1, 2].map(own),
            [" --adapter a=x/y", r" --adapter 'b=it'\''s'", " --adapter character0-chat-s0"]
        );
        let merged = said(&["--adapter", "a=x", "--merge-adapters"]);
        assert_eq!(merged.options(None), " --adapter a=x --merge-adapters");
        assert_eq!(said(&["--template-var", "x={\"a\": 1}"]).options(None), r#" --template-var 'x={"a":1}'"#);
        let wrong = |arg| Only::try_parse_from(["x", "--adapter", arg]).err().unwrap().to_string();
        assert!(wrong("character0-chat-s9").contains("`character0-chat-s0`"));
        assert!(wrong("warm").contains("NAME=DIR"));
    }

    #[test]
    fn a_token_is_drawn_anew_and_is_long_enough() {
        let (a, b) = (random_token().unwrap(), random_token().unwrap());
        assert_ne!(a, b);
        assert!(a.len() == 32 && a.chars().all(|c| c.is_ascii_hexdigit()), "{a}");
    }

    #[test]
    fn other_machines_are_let_in_only_when_it_is_said() {
        let refused = listen("0.0.0.0", 0, false).unwrap_err();
        assert!(refused.hint().contains("--allow-remote"), "{refused}");
        assert!(listen("0.0.0.0", 0, true).is_ok());
        assert!(listen("localhost", 0, false).unwrap().local_addr().unwrap().ip().is_loopback());
        assert!(listen("nobody.invalid", 0, true).unwrap_err().to_string().contains("nobody.invalid"));
    }

    #[test]
    fn a_port_in_use_is_said_with_the_way_out() {
        let first = listen("127.0.0.1", 0, false).unwrap();
        let taken = first.local_addr().unwrap().port();
        let e = listen("127.0.0.1", taken, false).unwrap_err();
        assert!(e.to_string().contains(&taken.to_string()) && e.hint().contains("--port 0"), "{e}");
    }
}
