"""Office files, books and PDF: small real ones, made by the libraries that people use."""

import datetime
import io
import zipfile
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from pypdf import PdfReader, PdfWriter

from malmoi.corpus.documents import Document
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.errors import DataError


def found(path: Path, report: ReadReport | None = None) -> list[Document]:
    return list(read_folder(path, report=report))


def pdf(*pages: str) -> bytes:
    """A PDF file with a line of text for each line of a page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for page in pages:
        shown = "".join(f"({line}) Tj T* " for line in page.split("\n")) if page else ""
        content = f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects) + 2} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode() + trailer.encode()


def encrypted(data: bytes, password: str, algorithm: str) -> bytes:
    writer, out = PdfWriter(clone_from=PdfReader(io.BytesIO(data))), io.BytesIO()
    writer.encrypt(password, "owner", algorithm=algorithm)
    writer.write(out)
    return out.getvalue()


def test_a_pdf_is_a_document_per_page(tmp_path: Path) -> None:
    text = "The first paragraph goes on and on until the end of the line and then con-\ntinues here.\nSecond.\n- item"
    (tmp_path / "a.pdf").write_bytes(pdf(text, "", "Third page."))
    report = ReadReport()
    first, third = found(tmp_path, report)
    assert first.text == (
        "The first paragraph goes on and on until the end of the line and then continues here.\nSecond.\n- item"
    )
    assert (first.source, first.place, third.place, third.text) == ("a.pdf", "page 1", "page 3", "Third page.")
    assert report.notes == {"page without text": 1}


def test_a_scan_says_that_it_needs_ocr(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf("", ""))
    with pytest.raises(DataError, match=r"a\.pdf: no text in its 2 pages; a scan needs OCR first: ocrmypdf"):
        found(tmp_path)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_pdf_with_a_password_is_named_and_one_that_anybody_may_read_is_read(tmp_path: Path, algorithm: str) -> None:
    (tmp_path / "a.pdf").write_bytes(encrypted(pdf("Open."), "", algorithm))
    assert [document.text for document in found(tmp_path)] == ["Open."]
    (tmp_path / "a.pdf").write_bytes(encrypted(pdf("Open."), "secret", algorithm))
    with pytest.raises(DataError, match=r"a\.pdf: locked by a password; save a copy without one"):
        found(tmp_path)


def test_a_word_file_keeps_headings_lists_and_tables_in_order(tmp_path: Path) -> None:
    made = docx.Document()
    made.add_heading("취업 규칙", 0)
    made.add_heading("휴가", 2)
    made.add_paragraph("연차는 15일이다.")
    made.add_paragraph("항목", style="List Bullet")
    table = made.add_table(2, 2)
    for row, values in zip(table.rows, [("이름", "전화"), ("김철수", "010-1")], strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    made.add_paragraph("끝.")
    made.save(str(tmp_path / "a.docx"))
    (document,) = found(tmp_path)
    assert document.text == "# 취업 규칙\n\n## 휴가\n\n연차는 15일이다.\n\n- 항목\n\n이름: 김철수; 전화: 010-1\n\n끝."


def test_a_powerpoint_file_is_a_document_per_slide(tmp_path: Path) -> None:
    made = pptx.Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Roadmap", "First\nSecond"
    slide.notes_slide.notes_text_frame.text = "Say hello."
    slide = made.slides.add_slide(made.slide_layouts[5])
    slide.shapes.title.text = "People"
    table = slide.shapes.add_table(2, 2, 0, 0, 100, 100).table
    for row, values in enumerate([("Name", "Age"), ("Kim", "5")]):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    made.save(str(tmp_path / "a.pptx"))
    assert [(document.place, document.text) for document in found(tmp_path)] == [
        ("slide 1", "# Roadmap\n\n- First\n- Second\n\nSay hello."),
        ("slide 2", "# People\n\nName: Kim; Age: 5"),
    ]


def test_an_excel_file_is_a_document_per_row_with_names_dates_shares_and_hidden_sheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Sales"
    for row in (
        ["2024 totals"],
        [],
        ["Name", "Date", "Share", "Sum"],
        ["Kim", datetime.date(2024, 5, 1), 0.25, "=1+1"],
        ["Lee", datetime.datetime(2024, 5, 1, 9, 30), 0.1 + 0.2, 3, "odd"],
    ):
        sheet.append(row)
    sheet["C4"].number_format = "0%"
    hidden = book.create_sheet("More")
    hidden.sheet_state = "hidden"
    hidden.append(["only one"])
    book.save(tmp_path / "a.xlsx")
    report = ReadReport()
    assert [(document.place, document.text) for document in found(tmp_path, report)] == [
        ("sheet Sales, row 1", "2024 totals"),
        ("sheet Sales, row 4", "Name: Kim; Date: 2024-05-01; Share: 25%"),
        ("sheet Sales, row 5", "Name: Lee; Date: 2024-05-01 09:30; Share: 0.3; Sum: 3; odd"),
        ("sheet More, row 1", "only one"),
    ]
    assert report.notes == {
        "formula without a value": 1,
        "hidden sheet, which is read too": 1,
        "row with more cells than its header": 1,
    }


def hwpx(section: str, header: str = "", **parts: str) -> bytes:
    names = "xmlns:hp='http://www.hancom.co.kr/hwpml/2011/paragraph' xmlns:hh='http://www.hancom.co.kr/hwpml/2011/head'"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/header.xml", f"<hh:head {names}>{header}</hh:head>")
        archive.writestr("Contents/section0.xml", f"<hp:sec {names}>{section}</hp:sec>")
        for name, text in parts.items():
            archive.writestr(name, text)
    return data.getvalue()


def paragraph(text: str, shape: int = 0) -> str:
    return f"<hp:p paraPrIDRef='{shape}'><hp:run><hp:t>{text}</hp:t></hp:run></hp:p>"


def test_a_hangul_file_keeps_headings_tables_and_what_is_within_a_paragraph(tmp_path: Path) -> None:
    header = "<hh:paraPr id='7'><hh:heading type='OUTLINE' level='1'/></hh:paraPr><hh:paraPr id='0'/>"
    cells = [
        f"<hp:tc><hp:subList>{paragraph(word)}</hp:subList></hp:tc>" for word in ("이름", "부서", "김철수", "연구")
    ]
    table = f"<hp:tbl><hp:tr>{cells[0]}{cells[1]}</hp:tr><hp:tr>{cells[2]}{cells[3]}</hp:tr></hp:tbl>"
    top = f"<hp:ctrl><hp:header><hp:subList>{paragraph('머리말')}</hp:subList></hp:header></hp:ctrl>"
    section = (
        paragraph("제1장 휴가", 7)
        + f"<hp:p><hp:run>{top}<hp:t>연차는<hp:tab/>15일<hp:markpenBegin/>이다<hp:deleteBegin/>지워짐"
        + f"<hp:deleteEnd/>.<hp:lineBreak/>다음 줄.</hp:t>{table}</hp:run></hp:p>"
    )
    (tmp_path / "a.hwpx").write_bytes(hwpx(section, header))
    (document,) = found(tmp_path)
    assert document.text == "## 제1장 휴가\n\n연차는\t15일이다.\n다음 줄.\n\n이름: 김철수; 부서: 연구"
    locked = hwpx(section, **{"META-INF/manifest.xml": "<m xmlns:o='o'><o:encryption-data/></m>"})
    (tmp_path / "a.hwpx").write_bytes(locked)
    with pytest.raises(DataError, match=r"a\.hwpx: locked by a password"):
        found(tmp_path)


def epub(*chapters: str, **parts: str) -> bytes:
    items = "".join(
        f"<item id='c{n}' href='text/c%20{n}.xhtml' media-type='application/xhtml+xml'/>" for n in range(len(chapters))
    )
    order = "".join(f"<itemref idref='c{n}'/>" for n in range(len(chapters)))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("META-INF/container.xml", "<container><rootfile full-path='OEBPS/book.opf'/></container>")
        nav = "<item id='n' href='nav.xhtml' properties='nav' media-type='application/xhtml+xml'/>"
        package = f"<package><manifest>{nav}{items}</manifest><spine><itemref idref='n'/>{order}</spine></package>"
        archive.writestr("OEBPS/book.opf", package)
        for n, chapter in enumerate(chapters):
            archive.writestr(f"OEBPS/text/c {n}.xhtml", f"<html><head><title/></head><body>{chapter}</body></html>")
        for name, text in parts.items():
            archive.writestr(name, text)
    return data.getvalue()


def test_a_book_is_a_document_per_chapter(tmp_path: Path) -> None:
    (tmp_path / "a.epub").write_bytes(epub("<h1>말모이</h1><p>첫 사전.</p>", "<img src='x'/>", "<p>Second.</p>"))
    assert [(document.place, document.text) for document in found(tmp_path)] == [
        ("chapter 1", "# 말모이\n\n첫 사전."),
        ("chapter 2", "Second."),
    ]
    locked = "<e><CipherReference URI='OEBPS/text/c%200.xhtml'/></e>"
    (tmp_path / "a.epub").write_bytes(epub("<p>x</p>", **{"META-INF/encryption.xml": locked}))
    with pytest.raises(DataError, match=r"a\.epub: locked by its publisher"):
        found(tmp_path)
