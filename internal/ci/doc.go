// Package ci tests the scripts in .ci, which continuous integration and releases run. It
// contains only tests.
package ci
