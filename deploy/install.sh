#!/bin/sh
# Installs the server and pairs of OpenCode with it under systemd. Prints what it would do; does it with --yes.
set -eu

program=${0##*/}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

usage() {
    cat <<USAGE
usage: $program COMMAND [options] [--yes]

    install --wheel FILE     install the version of that wheel, and the units
    upgrade --wheel FILE     the same, and restart the servers that run
    switch VERSION           go to a version that is installed, such as the one before, and restart the servers that run
    add NAME [options]       make a pair: users, folders, secrets. It is not started
        --port N             the server's port (default: 8000)
        --opencode-port N    OpenCode's port on loopback (default: 4096)
        --public-url URL     the URL that callers use, by a proxy on this machine (default: made from host and port)
    remove NAME [--purge]    stop a pair and forget it; with --purge, delete its state, its workspace and its users
    uninstall                stop all pairs, and remove the program and the units; pairs keep their state

Without --yes, the plan is printed and nothing is done.

    --python PROGRAM         the Python, 3.11 or later, that the environment is made with (default: python3)

DESTDIR puts everything below another folder, where neither users are made nor systemd is called.
USAGE
}

fail() {
    printf '%s: %s\n' "$program" "$1" >&2
    exit 2
}

destdir=${DESTDIR:-}
opt=$destdir/opt/opencode-a2a
units=$destdir/etc/systemd/system
etc=$destdir/etc/opencode-a2a
state=$destdir/var/lib/opencode-a2a
opencode_state=$destdir/var/lib/opencode
workspaces=$destdir/srv/opencode
unit_names='opencode@.service opencode-a2a@.service'

yes=no purge=no wheel='' python=python3 port=8000 opencode_port=4096 public_url='' command='' subject=''

value() { # option, number of arguments left
    [ "$2" -ge 2 ] || fail "$1 needs a value"
}

while [ $# -gt 0 ]; do
    case $1 in
        --yes) yes=yes ;;
        --purge) purge=yes ;;
        --wheel) value "$1" $#; wheel=$2; shift ;;
        --python) value "$1" $#; python=$2; shift ;;
        --port) value "$1" $#; port=$2; shift ;;
        --opencode-port) value "$1" $#; opencode_port=$2; shift ;;
        --public-url) value "$1" $#; public_url=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) fail "unknown option: $1" ;;
        *)
            if [ -z "$command" ]; then command=$1
            elif [ -z "$subject" ]; then subject=$1
            else fail "one argument too many: $1"
            fi
            ;;
    esac
    shift
done

# Print a step of the plan, and do it where that is asked for. No secret is ever an argument.
run() {
    printf '  %s\n' "$*"
    [ "$yes" = no ] || "$@"
}

# The same for what concerns the whole machine: users and systemd.
system() {
    if [ -n "$destdir" ]; then
        printf '  (not below DESTDIR) %s\n' "$*"
    else
        run "$@"
    fi
}

# Write standard input to a file: owner, mode, path. A file that is there is kept.
write_new() {
    if [ -e "$3" ]; then
        printf '  keep %s\n' "$3"
        cat >/dev/null
        return
    fi
    printf '  write %s (%s, %s)\n' "$3" "$1" "$2"
    if [ "$yes" = no ]; then
        cat >/dev/null
        return
    fi
    # whole, or not at all: what is there is kept by the next run
    (umask 077 && cat >"$3.new")
    [ -n "$destdir" ] || chown "$1" "$3.new"
    chmod "$2" "$3.new"
    mv "$3.new" "$3"
}

folder() { # owner, mode, path
    run mkdir -p "$3"
    [ -n "$destdir" ] || run chown "$1" "$3"
    run chmod "$2" "$3"
}

random() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

need_root() {
    if [ "$yes" = yes ] && [ -z "$destdir" ] && [ "$(id -u)" -ne 0 ]; then
        fail 'this needs root'
    fi
}

need_port() { # option, value
    case $2 in '' | *[!0-9]* | 0*) fail "$1 is a number without leading zeros" ;; esac
    [ ${#2} -le 5 ] || fail "$1 is from 1 to 65535"
    if [ "$2" -lt 1 ] || [ "$2" -gt 65535 ]; then fail "$1 is from 1 to 65535"; fi
}

# A value goes into a line of a file that systemd reads: it ends with the line, and has neither quotes nor escapes.
need_value() { # option, value
    case $2 in *[!!-~]* | *[\\\"\']*) fail "$1 takes plain characters without spaces, quotes and backslashes" ;; esac
}

need_name() {
    case $subject in
        '') fail "$command needs a NAME" ;;
        [!a-z]* | *[!a-z0-9-]*) fail 'NAME has lower-case letters, digits and hyphens, and begins with a letter' ;;
    esac
    [ ${#subject} -le 16 ] || fail 'NAME has at most 16 characters'
}

# A version begins with a digit, so that it is none of the other names in the folder, such as `current` or `..`.
is_version() {
    case $1 in [0-9]*) ;; *) return 1 ;; esac
    case $1 in *[!0-9A-Za-z.+]*) return 1 ;; esac
}

pairs() {
    for folder in "$etc"/*/; do
        [ ! -d "$folder" ] || basename "$folder"
    done
}

restart_running() {
    for name in $(pairs); do
        system systemctl try-restart "opencode-a2a@$name.service"
    done
}

install_version() {
    [ -n "$wheel" ] || fail "$command needs --wheel FILE"
    [ -f "$wheel" ] || fail "$wheel is not there"
    requirements=$here/requirements.txt
    [ -f "$requirements" ] || fail "$requirements is not there"
    file=${wheel##*/}
    case $file in opencode_a2a-*-py3-none-any.whl) ;; *) fail "$file is not a wheel of opencode-a2a" ;; esac
    version=${file#opencode_a2a-}
    version=${version%-py3-none-any.whl}
    is_version "$version" || fail "$file has no plain version in its name"
    if [ "$yes" = yes ]; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is not Python 3.11 or later; name another with --python"
    fi
    echo "version $version:"
    run mkdir -p "$opt"
    if [ -x "$opt/$version/bin/opencode-a2a" ] && [ ! -e "$opt/$version.partial" ]; then
        echo "  keep $opt/$version, which is installed"
    else
        # a mark beside it: an installation that was cut off is begun anew
        run touch "$opt/$version.partial"
        run rm -rf "$opt/$version"
        run "$python" -m venv "$opt/$version"
        run "$opt/$version/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"
        run "$opt/$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index "$wheel"
        run rm -f "$opt/$version.partial"
    fi
    point_to "$version"
    echo 'units:'
    run mkdir -p "$units"
    for unit in $unit_names; do
        run cp "$here/systemd/$unit" "$units/$unit"
        run chmod 644 "$units/$unit"
    done
    system systemctl daemon-reload
}

# Replace the link in one step: a server that starts meanwhile finds the one or the other.
point_to() {
    run ln -sfn "$1" "$opt/current.new"
    run mv -T "$opt/current.new" "$opt/current"
}

password_in() {
    [ ! -f "$1" ] || sed -n 's/^OPENCODE_SERVER_PASSWORD=//p' "$1" | tail -n 1
}

add_pair() {
    need_name
    need_port --port "$port"
    need_port --opencode-port "$opencode_port"
    need_value --public-url "$public_url"
    [ "$port" != "$opencode_port" ] || fail 'the two ports are the same'
    for name in $(pairs); do
        [ "$name" != "$subject" ] || continue
        if grep -Eqs "^(A2A_PORT|LISTEN_PORT)=($port|$opencode_port)\$" "$etc/$name/server.env" "$etc/$name/opencode.env"; then
            fail "one of the ports is that of the pair $name"
        fi
    done
    echo "pair $subject:"
    for user in "opencode-$subject" "a2a-$subject"; do
        if [ -n "$destdir" ] || ! id "$user" >/dev/null 2>&1; then
            system useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
        fi
    done
    folder root:root 711 "$etc"
    folder "root:a2a-$subject" 750 "$etc/$subject"
    folder root:root 711 "$workspaces"
    folder "opencode-$subject:opencode-$subject" 700 "$workspaces/$subject"
    token=$(random)
    # Both sides have one password, also where an earlier run of this was cut off between them.
    password=$(password_in "$etc/$subject/opencode.env")
    [ -n "$password" ] || password=$(password_in "$etc/$subject/secrets.env")
    [ -n "$password" ] || password=$(random)
    # systemd reads the first two as root; a server reads its credentials itself, and again at a reload
    write_new root:root 600 "$etc/$subject/opencode.env" <<FILE
LISTEN_PORT=$opencode_port
OPENCODE_SERVER_PASSWORD=$password
FILE
    write_new root:root 600 "$etc/$subject/secrets.env" <<FILE
OPENCODE_SERVER_PASSWORD=$password
FILE
    write_new "root:a2a-$subject" 640 "$etc/$subject/credentials.json" <<FILE
[{"scheme": "bearer", "token": "$token", "principal": "operator"}]
FILE
    write_new root:root 644 "$etc/$subject/server.env" <<FILE
A2A_HOST=127.0.0.1
A2A_PORT=$port
${public_url:+A2A_PUBLIC_URL=$public_url
A2A_TRUSTED_PROXIES=127.0.0.1
}A2A_STATIC_AUTH_CREDENTIALS_FILE=/etc/opencode-a2a/$subject/credentials.json
A2A_TASK_STORE_DATABASE_URL=sqlite:////var/lib/opencode-a2a/$subject/opencode-a2a.db
OPENCODE_BASE_URL=http://127.0.0.1:$opencode_port
OPENCODE_WORKSPACE_ROOT=/srv/opencode/$subject
FILE
    echo 'next:'
    echo "  keys of model providers go into $etc/$subject/opencode.env"
    echo "  the caller's token is in $etc/$subject/credentials.json"
    echo "  systemctl enable --now opencode@$subject opencode-a2a@$subject"
}

# The folders that a pair has left behind.
kept_of() {
    for folder in "$state/$1" "$opencode_state/$1" "$workspaces/$1"; do
        [ ! -d "$folder" ] || echo "$folder"
    done
}

remove_pair() {
    need_name
    if [ ! -d "$etc/$subject" ] && { [ "$purge" = no ] || [ -z "$(kept_of "$subject")" ]; }; then
        fail "there is no pair $subject"
    fi
    echo "pair $subject:"
    system systemctl disable --now "opencode-a2a@$subject.service" "opencode@$subject.service"
    run rm -rf "${etc:?}/$subject"
    if [ "$purge" = yes ]; then
        run rm -rf "${state:?}/$subject" "${opencode_state:?}/$subject" "${workspaces:?}/$subject"
        system userdel "a2a-$subject"
        system userdel "opencode-$subject"
    else
        echo "  keep $state/$subject, $opencode_state/$subject and $workspaces/$subject"
    fi
}

case $command in
    install | upgrade)
        need_root
        [ -z "$subject" ] || fail "one argument too many: $subject"
        install_version
        [ "$command" = install ] || restart_running
        ;;
    switch)
        need_root
        [ -n "$subject" ] || fail 'switch needs a VERSION'
        is_version "$subject" || fail "$subject is not a version"
        if [ ! -x "$opt/$subject/bin/opencode-a2a" ] || [ -e "$opt/$subject.partial" ]; then
            fail "$subject is not installed below $opt"
        fi
        echo "version $subject:"
        point_to "$subject"
        restart_running
        ;;
    add) need_root; add_pair ;;
    remove) need_root; remove_pair ;;
    uninstall)
        need_root
        [ -z "$subject" ] || fail "one argument too many: $subject"
        echo 'everything but the pairs themselves:'
        for name in $(pairs); do
            system systemctl disable --now "opencode-a2a@$name.service" "opencode@$name.service"
        done
        for unit in $unit_names; do
            run rm -f "$units/$unit"
        done
        system systemctl daemon-reload
        run rm -rf "$opt"
        echo "  keep $etc, $state, $opencode_state and $workspaces"
        ;;
    '') usage >&2; exit 2 ;;
    *) fail "unknown command: $command" ;;
esac

[ "$yes" = yes ] || echo 'Nothing was done. Add --yes to do it.'
