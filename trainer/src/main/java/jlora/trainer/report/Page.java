package jlora.trainer.report;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Consumer;

/** What all pages share: head, style and title, tiles of headline numbers, tables of figures. */
final class Page {
    private Page() {}

    /**
     * A whole page.
     *
     * @param kind what sort of page it is, above the title
     * @param body writes what follows title and subtitle
     */
    static String html(String title, String kind, String subtitle, Consumer<Markup> body) {
        Markup page = new Markup();
        page.raw("<!DOCTYPE html>\n");
        page.open("html", "lang", "en", "xmlns", "http://www.w3.org/1999/xhtml").open("head");
        page.empty("meta", "charset", "utf-8");
        page.empty("meta", "name", "viewport", "content", "width=device-width, initial-scale=1");
        page.empty("meta", "name", "color-scheme", "content", "light dark");
        page.element("title", title + " · jlora");
        page.open("style").raw(style()).close("style").close("head").open("body").open("main");
        page.open("header").element("p", kind, "class", "kind").element("h1", title);
        page.element("p", subtitle, "class", "subtitle").close("header");
        body.accept(page);
        return page.close("main").close("body").close("html").toString();
    }

    static void tile(Markup page, String name, String value, String note) {
        page.open("div", "class", "tile")
                .element("p", name, "class", "name")
                .element("p", value, "class", "value");
        page.element("p", note, "class", "note").close("div");
    }

    /**
     * A table whose first columns are words and whose other columns are numbers.
     *
     * @param words how many columns are words
     */
    static void table(Markup page, int words, List<String> head, List<List<String>> rows) {
        page.open("div", "class", "wide").open("table").open("thead").open("tr");
        cells(page, "th", words, head);
        page.close("tr").close("thead").open("tbody");
        for (List<String> row : rows) {
            page.open("tr");
            cells(page, "td", words, row);
            page.close("tr");
        }
        page.close("tbody").close("table").close("div");
    }

    private static void cells(Markup page, String element, int words, List<String> cells) {
        for (int i = 0; i < cells.size(); i++) {
            if (i < words) {
                page.element(element, cells.get(i));
            } else {
                page.element(element, cells.get(i), "class", "n");
            }
        }
    }

    private static String style() {
        try (InputStream in = Page.class.getResourceAsStream("report.css")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
