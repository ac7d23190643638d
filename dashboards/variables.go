package dashboards

import (
	"regexp"
	"strings"
)

// Interpolate replaces the variables in an expression with their values. A variable
// without a value is left as it is.
func Interpolate(expr string, values map[string]string) string {
	return variablePattern().ReplaceAllStringFunc(expr, func(found string) string {
		if value, ok := values[strings.Trim(found, "${}")]; ok {
			return value
		}
		return found
	})
}

// Variables returns the names of the variables in an expression.
func Variables(expr string) []string {
	var names []string
	for _, found := range variablePattern().FindAllString(expr, -1) {
		names = append(names, strings.Trim(found, "${}"))
	}
	return names
}

func variablePattern() *regexp.Regexp {
	return regexp.MustCompile(`\$(\w+|\{\w+\})`)
}
