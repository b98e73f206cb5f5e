# What the scripts that train hearth share: sets `cache`, `python` and `data`, and makes what is not there yet.
examples=${EXAMPLES:-500000}
. scripts/training-python.sh
data="$cache/data-$examples"
if [ ! -e "$data/report.json" ]; then
  "$python" -m training.data.build --out "$data.part" --seed 0 --examples "$examples"
  mv "$data.part" "$data"
fi
