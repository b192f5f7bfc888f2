set -e
place=$(mktemp -d)
echo hello > "$place/my file"
sh backup.sh "$place/my file"
cmp "$place/my file" "$place/my file.bak"
if sh backup.sh "$place/nothing" 2>/dev/null; then echo 'it says nothing of a missing file'; exit 1; fi
