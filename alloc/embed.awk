# Turns each file into a C string that is called schema_NAME, after the file's name without its folder and ending.
FNR == 1 {
    if (NR > 1)
        print ";"
    name = FILENAME
    gsub(/.*\/|\..*/, "", name)
    printf "static const char schema_%s[] __attribute__((unused)) =\n", name
}
{
    gsub(/\\/, "\\\\")
    gsub(/"/, "\\\"")
    printf "    \"%s\\n\"\n", $0
}
END { print ";" }
