# Sets `cache` and `python` for the scripts of training: a Python with what training/requirements.txt pins, kept in the
# cache. To be sourced from the top folder.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/hearth"
python="$cache/python/bin/python"
mkdir -p "$cache"
if ! cmp -s training/requirements.txt "$cache/requirements.txt"; then
  python3 -m venv "$cache/python"
  "$cache/python/bin/pip" install --quiet -r training/requirements.txt
  cp training/requirements.txt "$cache/requirements.txt"
fi
