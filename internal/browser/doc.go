// Package browser tests the console and the bank on the web in a real browser: Chromium, driven
// by chromedp. It is a module of its own, so that nobody else needs that.
package browser
